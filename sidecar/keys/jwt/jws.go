// Package jws reads and verifies tokens that are not to authenticate a request: logout tokens of another issuer. It is as strict
// as sidecar/stages/authn, whose checks of an access token it follows.
package jwt

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check/strictjson"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// Bounds of a token: its bytes, the nesting of its JSON, and the last second of the year 9999.
const (
	maxToken = 16 << 10
	maxDepth = 16
	maxDate  = 253402300799
)

var (
	// ErrInvalid: the token is not good; it says why without quoting the token.
	ErrInvalid = errors.New("verifying token")
	// ErrUnavailable: the issuer's keys is unavailable at present, so nothing is known.
	ErrUnavailable = errors.New("verifying token: the keys is unavailable at present")
)

// Keys finds keys; jwks.Source and signing.Ring do.
type Keys interface {
	Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error)
}

// Issuer is whose tokens are good, and what they must be.
type Issuer struct {
	// Issuer is compared with iss byte by byte.
	Issuer string
	// Audiences: aud must hold one of them; empty for any.
	Audiences  []string
	Algorithms []string
	// Types are the accepted values of typ, in lower case and without "application/"; a token must have one.
	Types []string
	Keys  Keys
	// Leeway is granted to exp, nbf and iat.
	Leeway time.Duration
}

// Token is a verified token.
type Token struct {
	Issuer, Subject, ID, Session string
	// KeyID is that of the issuer's key which has signed, whatever the token says; it may be empty.
	KeyID string
	// Issued and Expires are zero where the token has no iat or exp.
	Issued, Expires time.Time
	Claims          map[string]any
}

// unverified is a token in parts.
type unverified struct {
	header, claims map[string]any
	signed         string
	signature      []byte
}

func invalid(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }

// IssuerOf returns the iss of a token that is not verified yet, to choose who verifies it.
func IssuerOf(raw string) (string, error) {
	u, err := parse(raw)
	if err != nil {
		return "", err
	}
	issuer, ok := u.claims["iss"].(string)
	if !ok {
		return "", invalid("it has no issuer")
	}
	return issuer, nil
}

// Verify returns what a token says, if it is i's and good at now. The error matches ErrInvalid or ErrUnavailable.
func (i Issuer) Verify(ctx context.Context, raw string, now time.Time) (*Token, error) {
	u, err := parse(raw)
	if err != nil {
		return nil, err
	}
	alg, kid, err := i.checkHeader(u.header)
	if err != nil {
		return nil, err
	}
	t, err := i.readClaims(u.claims, now)
	if err != nil {
		return nil, err
	}
	key, err := i.checkSignature(ctx, u, kid, alg)
	if err != nil {
		return nil, err
	}
	t.KeyID = key.ID()
	return t, nil
}

func parse(raw string) (*unverified, error) {
	parts := strings.Split(raw, ".")
	if len(raw) > maxToken || len(parts) != 3 {
		return nil, invalid("it is not a signed token of up to 16 KiB")
	}
	var decoded [3][]byte
	for i, part := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") { // the decoder skips line breaks
			return nil, invalid("it is not base64url")
		}
		decoded[i] = b
	}
	u := &unverified{signed: raw[:len(parts[0])+1+len(parts[1])], signature: decoded[2]}
	var err error
	if u.header, err = strictjson.Object(decoded[0], maxDepth); err != nil {
		return nil, invalid("its header is malformed")
	}
	if u.claims, err = strictjson.Object(decoded[1], maxDepth); err != nil {
		return nil, invalid("its claims are malformed")
	}
	return u, nil
}

// checkHeader refuses extensions (RFC 7515 §4.1.11, RFC 7797), types and algorithms that are not asked for (RFC 8725 §3.1,
// §3.11).
func (i Issuer) checkHeader(header map[string]any) (alg, kid string, err error) {
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return "", "", invalid("it needs an extension")
		}
	}
	typ, _ := header["typ"].(string)
	alg, _ = header["alg"].(string)
	kid, isText := header["kid"].(string)
	if _, ok := header["kid"]; ok && !isText {
		return "", "", invalid("its kid is not a string")
	}
	switch {
	case !slices.Contains(i.Types, strings.TrimPrefix(strings.ToLower(typ), "application/")):
		return "", "", invalid("it is of another type")
	case !slices.Contains(i.Algorithms, alg):
		return "", "", invalid("it is signed with another algorithm")
	}
	return alg, kid, nil
}

func (i Issuer) readClaims(claims map[string]any, now time.Time) (*Token, error) {
	t := &Token{Claims: claims}
	for name, field := range map[string]*string{"iss": &t.Issuer, "sub": &t.Subject, "jti": &t.ID, "sid": &t.Session} {
		v, ok := claims[name]
		if !ok {
			continue
		}
		if *field, ok = v.(string); !ok {
			return nil, invalid("its " + name + " is not a string")
		}
	}
	if t.Issuer != i.Issuer {
		return nil, invalid("it is of another issuer")
	}
	if err := i.checkAudience(claims["aud"]); err != nil {
		return nil, err
	}
	if err := i.checkDates(t, now); err != nil {
		return nil, err
	}
	return t, nil
}

func (i Issuer) checkAudience(aud any) error {
	if len(i.Audiences) == 0 {
		return nil
	}
	list, ok := aud.([]any)
	if !ok {
		list = []any{aud}
	}
	for _, a := range list {
		if s, ok := a.(string); ok && slices.Contains(i.Audiences, s) {
			return nil
		}
	}
	return invalid("it is for another audience")
}

func (i Issuer) checkDates(t *Token, now time.Time) error {
	var notBefore time.Time
	for name, field := range map[string]*time.Time{"exp": &t.Expires, "iat": &t.Issued, "nbf": &notBefore} {
		v, ok := t.Claims[name]
		if !ok {
			continue
		}
		if *field, ok = date(v); !ok {
			return invalid("its " + name + " is not a date")
		}
	}
	switch {
	case !t.Expires.IsZero() && !now.Before(t.Expires.Add(i.Leeway)):
		return invalid("it has expired")
	case now.Add(i.Leeway).Before(t.Issued), now.Add(i.Leeway).Before(notBefore):
		return invalid("it is not valid yet")
	}
	return nil
}

// date reads a NumericDate (RFC 7519 §2).
func date(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// checkSignature returns the key that has signed; a token need not name it.
func (i Issuer) checkSignature(ctx context.Context, u *unverified, kid, alg string) (*jwks.Key, error) {
	keys, err := i.Keys.Lookup(ctx, kid, alg)
	if errors.Is(err, jwks.ErrUnavailable) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for _, key := range keys {
		if key.Algorithm() == alg && key.Verify(u.signed, u.signature) == nil {
			return key, nil
		}
	}
	return nil, invalid("its key is unknown or its signature wrong")
}
