// Package identity holds the content of a verified credential.
package identity

import (
	"strings"
	"time"
)

// Identity is the content of a verified token. It is immutable and may be shared by requests.
type Identity struct {
	// Provider is the name of the policy's provider whose key verified the token.
	Provider string
	// Issuer, Subject and TokenID are the registered claims iss, sub and jti (RFC 7519 §4.1); TokenID may be empty.
	Issuer, Subject, TokenID string
	// KeyID is the kid of the issuer's key that verified the token; it may be empty.
	KeyID string
	// IssuedAt and Expires are iat and exp; IssuedAt is zero if the token has none.
	IssuedAt, Expires time.Time
	// Claims contains every claim, decoded with numbers as json.Number.
	Claims map[string]any
}

// Claim looks a claim up: first by its whole name (claim names may contain dots, such as
// "https://example.com/roles"), then by its dotted path through nested objects ("realm.roles").
func (i *Identity) Claim(path string) (any, bool) {
	if i == nil {
		return nil, false
	}
	return lookup(i.Claims, path)
}

func lookup(claims map[string]any, path string) (any, bool) {
	if v, ok := claims[path]; ok {
		return v, true
	}
	for i := strings.IndexByte(path, '.'); i >= 0; i = next(path, i) {
		inner, ok := claims[path[:i]].(map[string]any)
		if !ok {
			continue
		}
		if v, ok := lookup(inner, path[i+1:]); ok {
			return v, true
		}
	}
	return nil, false
}

// next returns the index of the first dot after i, or -1.
func next(path string, i int) int {
	j := strings.IndexByte(path[i+1:], '.')
	if j < 0 {
		return -1
	}
	return i + 1 + j
}
