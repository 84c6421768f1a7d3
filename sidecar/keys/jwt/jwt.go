// Package jwt reads and verifies signed JSON Web Tokens (RFC 7515, RFC 7519, RFC 8725). It is the one parser and the one checker
// of claims: authentication verifies the tokens of requests with it, the app's API those that it is asked about, and
// back-channel logout the logout tokens of external issuers. What the three ask for differently are fields of Issuer, and checks
// that they add to a token that has passed here.
//
// Keys belong to package jwks: each has one algorithm, and a token is verified only by a key of the algorithm that its header
// names, among those that its issuer may use.
package jwt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// Keys finds the keys of one issuer; jwks.Source and signing.Ring do.
type Keys interface {
	// Lookup returns the keys that may have signed a token with this header.
	Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error)
}

// Issuer is whose tokens are accepted, and what they must say. It is not changed once it is in use.
type Issuer struct {
	// Issuer is compared with iss byte by byte.
	Issuer string
	// Audiences: aud must hold one of them. Empty accepts a token for anybody, which is safe only where the issuer serves this
	// app alone (RFC 8725 §3.9).
	Audiences []string
	// Algorithms are those that jwks.CheckAlgorithms accepts.
	Algorithms []string
	// Types are the accepted values of typ, as MediaType writes them; a token without typ counts as "jwt".
	Types []string
	Keys  Keys
	// Leeway is granted to exp, nbf and iat.
	Leeway time.Duration
	// MaxLifetime bounds exp−iat and makes iat mandatory; zero for no bound.
	MaxLifetime time.Duration
}

// Token is a verified token.
type Token struct {
	// Issuer, Subject and ID are iss, sub and jti; the last two may be empty.
	Issuer, Subject, ID string
	// Key is the issuer's key that has signed, whatever kid the token names.
	Key *jwks.Key
	Dates
	// Claims holds every claim, with numbers as json.Number.
	Claims map[string]any
}

// MediaType is the form in which types are compared: in lower case, without "application/" (RFC 7515 §4.1.9).
func MediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// Verify returns what a token says, if it is the issuer's and valid at now. What costs little is checked before the signature, so
// that a stale token does not cause a fetch of keys. Errors are a Reason, perhaps with a cause.
func (i *Issuer) Verify(ctx context.Context, u *Unverified, now time.Time) (*Token, error) {
	if err := i.checkHeader(u); err != nil {
		return nil, err
	}
	t, err := i.readClaims(u.Claims)
	if err != nil {
		return nil, err
	}
	if err := i.CheckDates(t.Dates, now); err != nil {
		return nil, err
	}
	if t.Key, err = i.checkSignature(ctx, u); err != nil {
		return nil, err
	}
	return t, nil
}

// checkHeader refuses types and algorithms that are not asked for (RFC 8725 §3.1, §3.11).
func (i *Issuer) checkHeader(u *Unverified) error {
	typ := u.Type
	if typ == "" {
		typ = "JWT"
	}
	switch {
	case !slices.Contains(i.Types, MediaType(typ)):
		return WrongType
	case !slices.Contains(i.Algorithms, u.Algorithm):
		return WrongAlgorithm
	}
	return nil
}

func (i *Issuer) readClaims(claims map[string]any) (*Token, error) {
	t := &Token{Claims: claims}
	if err := readTexts(claims, map[string]*string{"iss": &t.Issuer, "sub": &t.Subject, "jti": &t.ID}); err != nil {
		return nil, err
	}
	if t.Issuer != i.Issuer {
		return nil, UnknownIssuer
	}
	if err := i.checkAudience(claims); err != nil {
		return nil, err
	}
	var err error
	t.Dates, err = readDates(claims)
	return t, err
}

// checkAudience looks for one of the accepted audiences in aud, a string or an array of strings. Anything else is refused also
// where every audience is accepted.
func (i *Issuer) checkAudience(claims map[string]any) error {
	var audiences []string
	v, present := claims["aud"]
	switch v := v.(type) {
	case string:
		audiences = []string{v}
	case []any:
		for _, element := range v {
			s, ok := element.(string)
			if !ok {
				return Malformed
			}
			audiences = append(audiences, s)
		}
	default:
		if present && v != nil {
			return Malformed
		}
	}
	if len(i.Audiences) == 0 || slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(i.Audiences, a) }) {
		return nil
	}
	return WrongAudience
}

// checkSignature returns the issuer's key that signed the token. Keys are for one algorithm and nothing else.
func (i *Issuer) checkSignature(ctx context.Context, u *Unverified) (*jwks.Key, error) {
	keys, err := i.Keys.Lookup(ctx, u.KeyID, u.Algorithm)
	switch {
	case errors.Is(err, jwks.ErrUnavailable):
		return nil, Because(Unavailable, err)
	case errors.Is(err, jwks.ErrAlgorithm):
		return nil, Because(WrongAlgorithm, err)
	case err != nil:
		return nil, Because(UnknownKey, err)
	}
	cause := error(jwks.ErrUnknownKey)
	for _, key := range keys {
		if key.Algorithm() != u.Algorithm {
			continue
		}
		if cause = key.Verify(u.signed, u.signature); cause == nil {
			return key, nil
		}
	}
	return nil, Because(BadSignature, cause)
}
