package jwt

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// MaxSize is the maximum length of a token, in bytes.
const MaxSize = 16 << 10

// Bounds of the parts of a token: the JSON nesting of header and claims, and the length of kid in bytes.
const (
	maxHeaderDepth = 8 // x5c, jwk and crit are nested
	maxClaimsDepth = 16
	maxKeyID       = 256
)

// strictEncoding is the encoding of the parts of a token.
var strictEncoding = base64.RawURLEncoding.Strict()

// Unverified is a compact JWS (RFC 7515 §7.1) that was parsed strictly. None of its content is verified.
type Unverified struct {
	// Algorithm, KeyID and Type are alg, kid and typ of the header. KeyID and Type may be empty.
	Algorithm, KeyID, Type string
	// Header contains every parameter. Claims contains numbers as json.Number.
	Header, Claims map[string]any
	// signed is the token up to its second dot.
	signed    string
	signature []byte
}

// Issuer returns the claim iss, or "" if it is absent or not a string. It selects the keys and rules for verification.
func (u *Unverified) Issuer() string {
	issuer, _ := u.Claims["iss"].(string)
	return issuer
}

// VerifyWith verifies the signature with a key of the token's algorithm.
func (u *Unverified) VerifyWith(key *jwks.Key) error {
	if key.Algorithm() != u.Algorithm {
		return WrongAlgorithm
	}
	if err := key.Verify(u.signed, u.signature); err != nil {
		return Because(BadSignature, err)
	}
	return nil
}

// Parse parses a token strictly, so that no other parser can read it differently: canonical base64url, no repeated member, no
// lone surrogate, no trailing data. Keys and key URLs in the header (jwk, jku, x5c, x5u) are ignored, because some issuers send
// them for other uses. An error is a Reason, which may have a cause.
func Parse(raw string) (*Unverified, error) {
	if len(raw) > MaxSize {
		return nil, TooLarge
	}
	if several(raw) {
		return nil, SeveralTokens
	}
	header, rest, _ := strings.Cut(raw, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	if n := strings.Count(raw, ".") + 1; n == 5 && encrypted(header) {
		return nil, Encrypted
	} else if n != 3 {
		return nil, Because(Malformed, fmt.Errorf("it has %d parts; a signed token has 3", n))
	}
	var decoded [3][]byte
	buffer := make([]byte, 0, base64.RawURLEncoding.DecodedLen(len(raw)))
	for i, part := range [...]string{header, claims, signature} {
		start := len(buffer)
		var err error
		if buffer, err = appendPart(buffer, part); err != nil {
			return nil, err
		}
		decoded[i] = buffer[start:]
	}
	u := &Unverified{signed: raw[:len(header)+1+len(claims)], signature: decoded[2]}
	if err := u.readHeader(decoded[0]); err != nil {
		return nil, err
	}
	var err error
	if u.Claims, err = object(decoded[1], maxClaimsDepth); err != nil {
		return nil, err
	}
	return u, nil
}

// several reports whether raw has two tokens, which a proxy or a client has put in one field, with a comma or a space between them.
func several(raw string) bool {
	if strings.IndexByte(raw, ',') < 0 && strings.IndexByte(raw, ' ') < 0 && strings.IndexByte(raw, '\t') < 0 {
		return false
	}
	tokens := 0
	for part := range strings.FieldsFuncSeq(raw, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		if strings.Count(part, ".") >= 2 {
			tokens++
		}
	}
	return tokens > 1
}

// encrypted reports whether a token of five parts is a JWE (RFC 7516 §4.1.2): its header has enc.
func encrypted(header string) bool {
	data, err := appendPart(nil, header)
	if err != nil {
		return false
	}
	members, err := object(data, maxHeaderDepth)
	_, ok := members["enc"].(string)
	return err == nil && ok
}

// appendPart appends to buffer what part encodes: base64url without padding. Unused bits of the last character must be zero.
func appendPart(buffer []byte, part string) ([]byte, error) {
	if strings.IndexByte(part, '\r') >= 0 || strings.IndexByte(part, '\n') >= 0 { // the decoder skips line breaks
		return nil, Malformed
	}
	buffer, err := strictEncoding.AppendDecode(buffer, []byte(part))
	if err != nil {
		return nil, Malformed
	}
	return buffer, nil
}

func (u *Unverified) readHeader(data []byte) error {
	header, err := object(data, maxHeaderDepth)
	if err != nil {
		return err
	}
	u.Header = header
	// Nothing that crit may name is supported (RFC 7515 §4.1.11); b64 (RFC 7797) would change what was signed.
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return Because(Critical, &Defect{Name: name, InHeader: true, Problem: "is present"})
		}
	}
	if err := readTexts(header, true, text{"alg", &u.Algorithm}, text{"kid", &u.KeyID}, text{"typ", &u.Type}); err != nil {
		return err
	}
	switch {
	case u.Algorithm == "":
		return Because(Malformed, &Defect{Name: "alg", InHeader: true, Problem: "is absent or empty"})
	case len(u.KeyID) > maxKeyID:
		return Because(Malformed, &Defect{Name: "kid", InHeader: true, Problem: fmt.Sprintf("has more than %d bytes", maxKeyID)})
	}
	return nil
}

// text is a member that must be a string, and where its value goes.
type text struct {
	name string
	into *string
}

// readTexts reads members that must be strings if they are present.
func readTexts(object map[string]any, inHeader bool, texts ...text) error {
	for _, t := range texts {
		v, ok := object[t.name]
		if !ok {
			continue
		}
		if *t.into, ok = v.(string); !ok {
			return Because(ClaimType, &Defect{Name: t.name, InHeader: inHeader, Problem: "is " + TypeName(v) + "; it must be a string"})
		}
	}
	return nil
}

func object(data []byte, depth int) (map[string]any, error) {
	members, err := strictjson.Object(data, depth)
	if err != nil {
		return nil, Because(Malformed, err)
	}
	return members, nil
}
