package signing

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/posterndev/postern/api/check/strictjson"
)

// Bounds of the content of a secret.
const (
	maxContent  = 256 << 10 // bytes
	maxVersions = 16
	maxDepth    = 4
)

// parse parses the content of a secret: PEM blocks (PKCS#8, or PKCS#1 and SEC 1 of older openssl), a private JWK, a set of private
// JWKs, or for HS256 the raw bytes of one secret. Several keys must be in order, the oldest first. Errors do not contain any of the
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
		return nil, fmt.Errorf("parsing signing key: found %d keys, want 1 to %d", len(versions), maxVersions)
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

// isObject reports whether data starts like a JSON object with a member, which a random secret is unlikely to do.
func isObject(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, []byte("{"))
	return ok && bytes.HasPrefix(bytes.TrimSpace(rest), []byte(`"`))
}

func parsePEM(content []byte, a Algorithm) ([]Version, error) {
	var versions []Version
	for len(content) > 0 && len(versions) <= maxVersions {
		block, rest := pem.Decode(content)
		if block == nil {
			return nil, errors.New("it has text outside of PEM blocks")
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

// parseBlock hides the errors of x509, which could quote the content.
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
		return nil, errors.New("a PEM block is not a private key: want an unencrypted PRIVATE KEY (PKCS#8)")
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
