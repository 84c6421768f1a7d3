package authn

import (
	"encoding/base64"
	"strings"

	"github.com/posterndev/postern/api/check/strictjson"
)

// Bounds of a token: its bytes, the nesting of its header's and its claims' JSON, and the bytes of its kid.
const (
	maxToken       = 16 << 10
	maxHeaderDepth = 8 // x5c, jwk and crit are nested
	maxClaimsDepth = 16
	maxKeyID       = 256
)

// token is a compact JWS (RFC 7515 §7.1), read strictly but not verified.
type token struct {
	alg, kid, typ string
	claims        map[string]any
	// signed is the token up to its second dot.
	signed    string
	signature []byte
}

// parse reads a token so that no other parser can read it differently: canonical base64url, no member twice, no data
// behind. A key or an address of one in the header (jwk, jku, x5c, x5u) is never looked at, and is no reason to refuse:
// some issuers send them for others' use.
func parse(raw string) (*token, error) {
	if len(raw) > maxToken {
		return nil, reasonTooLarge
	}
	parts := strings.Split(raw, ".")
	if len(parts) == 5 {
		return nil, reasonEncrypted
	}
	if len(parts) != 3 {
		return nil, reasonMalformed
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = decodePart(part); err != nil {
			return nil, err
		}
	}
	t := &token{signed: raw[:len(parts[0])+1+len(parts[1])], signature: decoded[2]}
	if err := t.readHeader(decoded[0]); err != nil {
		return nil, err
	}
	var err error
	if t.claims, err = strictjson.Object(decoded[1], maxClaimsDepth); err != nil {
		return nil, because(reasonMalformed, err)
	}
	return t, nil
}

// decodePart decodes base64url without padding; bits beyond the last byte must be zero.
func decodePart(part string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil || strings.ContainsAny(part, "\r\n") { // the decoder skips line breaks
		return nil, reasonMalformed
	}
	return b, nil
}

func (t *token) readHeader(data []byte) error {
	header, err := strictjson.Object(data, maxHeaderDepth)
	if err != nil {
		return because(reasonMalformed, err)
	}
	// Nothing that crit may name is supported (RFC 7515 §4.1.11); b64 (RFC 7797) would change what was signed.
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return reasonCritical
		}
	}
	for name, field := range map[string]*string{"alg": &t.alg, "kid": &t.kid, "typ": &t.typ} {
		v, ok := header[name]
		if !ok {
			continue
		}
		if *field, ok = v.(string); !ok {
			return reasonMalformed
		}
	}
	if t.alg == "" || len(t.kid) > maxKeyID {
		return reasonMalformed
	}
	return nil
}
