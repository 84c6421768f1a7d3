package signing

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/posterndev/postern/api/check/strictjson"
)

// Bounds of what a secret may hold.
const (
	maxContent  = 256 << 10 // bytes
	maxVersions = 16
	maxDepth    = 4
)

// parse reads a secret's content: PEM blocks (PKCS#8, or openssl's older PKCS#1 and SEC 1), a private JWK, a JWK set of such, or
// for HS256 the raw bytes of one secret. Where there are several keys, the older stand first. Errors hold none of the
// content.
func parse(content []byte, a Algorithm) ([]Version, error) {
	if len(content) > maxContent {
		return nil, fmt.Errorf("parsing signing key: larger than %d bytes", maxContent)
	}
	versions, err := parseAny(content, a)
	if err != nil {
		return nil, fmt.Errorf("parsing signing key: %w", err)
	}
	if len(versions) == 0 || len(versions) > maxVersions {
		return nil, fmt.Errorf("parsing signing key: %d keys; there must be 1 to %d", len(versions), maxVersions)
	}
	seen := map[string]bool{}
	for i, v := range versions {
		if seen[v.Signer.KeyID()] {
			return nil, fmt.Errorf("parsing signing key: key %d has the kid of another key", i)
		}
		seen[v.Signer.KeyID()] = true
	}
	return versions, nil
}

func parseAny(content []byte, a Algorithm) ([]Version, error) {
	trimmed := bytes.TrimSpace(content)
	switch {
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN ")):
		return parsePEM(trimmed, a)
	case isObject(trimmed):
		return parseJSON(trimmed, a)
	case a == HS256:
		v, err := newLocal(bytes.Clone(content), a, "")
		return []Version{v}, err
	}
	return nil, errors.New("neither PEM nor a JWK or JWK set")
}

// isObject reports whether data starts an object with a member, as no random secret is likely to do.
func isObject(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimSpace(rest), []byte(`"`))
}

func parsePEM(content []byte, a Algorithm) ([]Version, error) {
	var versions []Version
	for len(content) > 0 && len(versions) <= maxVersions {
		block, rest := pem.Decode(content)
		if block == nil {
			return nil, errors.New("there is text that is no PEM block")
		}
		content = bytes.TrimSpace(rest)
		if block.Type == "EC PARAMETERS" { // openssl ecparam -genkey writes the curve first
			continue
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		v, err := newLocal(key, a, "")
		if err != nil {
			return nil, err
		}
		versions = append(versions, v)
	}
	return versions, nil
}

// parseBlock hides x509's errors: they could quote the content.
func parseBlock(block *pem.Block) (any, error) {
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, errors.New("a PEM block is no private key: PRIVATE KEY (PKCS#8) is expected, not encrypted")
	}
	if err != nil {
		return nil, errors.New("a PEM block is not a valid private key")
	}
	return key, nil
}

func parseJSON(content []byte, a Algorithm) ([]Version, error) {
	object, err := strictjson.Object(content, maxDepth)
	if err != nil {
		return nil, err
	}
	list := []any{object}
	if keys, ok := object["keys"]; ok {
		if list, ok = keys.([]any); !ok {
			return nil, errors.New(`"keys" is not an array`)
		}
	}
	if len(list) > maxVersions {
		return nil, fmt.Errorf("more than %d keys", maxVersions)
	}
	var versions []Version
	for i, member := range list {
		members, ok := member.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("key %d is not an object", i)
		}
		v, err := (&privateJWK{members: members}).version(a)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		versions = append(versions, v)
	}
	return versions, nil
}
