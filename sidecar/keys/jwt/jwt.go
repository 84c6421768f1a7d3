// Package jwt parses and verifies signed JSON Web Tokens (RFC 7515, RFC 7519, RFC 8725). It is the only JWT parser and claim
// checker of the sidecar. Authentication uses it for the tokens of requests, the app's API for the tokens that it introspects,
// and back-channel logout for logout tokens of external issuers. Their requirements differ in the fields of Issuer, and in
// checks that they add after Verify.
//
// Keys belong to package jwks. Each key has one algorithm. A token is verified only with a key of the algorithm that its header
// names, and the issuer must allow that algorithm.
package jwt

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/keys/jwks"
)

// Keys finds the keys of one issuer. jwks.Source and signing.Ring implement it.
type Keys interface {
	// Lookup returns the keys that may have signed a token with this kid and alg.
	Lookup(ctx context.Context, kid, alg string) ([]*jwks.Key, error)
}

// Issuer is an issuer whose tokens are accepted, with the rules for its tokens. It must not change while it is in use.
type Issuer struct {
	// Issuer is compared with iss byte by byte.
	Issuer string
	// Audiences are the accepted audiences: aud must contain one of them. Empty accepts tokens for any audience, which is safe
	// only if the issuer serves no other app (RFC 8725 §3.9).
	Audiences []string
	// Algorithms are the allowed algorithms, as accepted by jwks.CheckAlgorithms.
	Algorithms []string
	// Types are the accepted values of typ, in the form of MediaType. A token without typ counts as "jwt".
	Types []string
	Keys  Keys
	// Leeway is the allowed clock difference for exp, nbf and iat.
	Leeway time.Duration
	// MaxLifetime is the maximum of exp−iat. If it is set, iat is required. Zero means no maximum.
	MaxLifetime time.Duration
	// Unnamed accepts only tokens without iss, as tokens of Issuer.
	Unnamed bool
	// Until, unless zero, is when the issuer's last token is refused, whatever its exp.
	Until time.Time
	// AnySubject accepts sub in any type. Token.Subject is then empty unless it is a string.
	AnySubject bool
}

// Token is a verified token.
type Token struct {
	// Issuer, Subject and ID are the claims iss, sub and jti. Subject and ID may be empty.
	Issuer, Subject, ID string
	// Key is the key of the issuer that signed the token. Its kid may differ from the one in the token.
	Key *jwks.Key
	Dates
	// Claims contains every claim, with numbers as json.Number.
	Claims map[string]any
}

// MediaType returns the form in which types are compared: lower case, without "application/" (RFC 7515 §4.1.9).
func MediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// Verify returns the verified token if it is from this issuer and valid at now. Cheap checks come before the signature, so that
// an expired token does not cause a fetch of keys. An error is a Reason, which may have a cause.
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

// checkHeader refuses types and algorithms that the issuer does not allow (RFC 8725 §3.1, §3.11).
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
	if err := readTexts(claims, false, text{"iss", &t.Issuer}, text{"jti", &t.ID}); err != nil {
		return nil, err
	}
	if i.AnySubject {
		t.Subject, _ = claims["sub"].(string)
	} else if err := readTexts(claims, false, text{"sub", &t.Subject}); err != nil {
		return nil, err
	}
	if _, named := claims["iss"]; i.Unnamed && !named {
		t.Issuer = i.Issuer
	} else if i.Unnamed || t.Issuer != i.Issuer {
		return nil, UnknownIssuer
	}
	if err := i.checkAudience(claims); err != nil {
		return nil, err
	}
	var err error
	t.Dates, err = readDates(claims)
	return t, err
}

// checkAudience requires one of the accepted audiences in aud, which is a string or an array of strings. Other JSON types are
// refused, also if every audience is accepted.
func (i *Issuer) checkAudience(claims map[string]any) error {
	named, accepted := 0, len(i.Audiences) == 0
	v, present := claims["aud"]
	switch v := v.(type) {
	case string:
		named, accepted = 1, accepted || slices.Contains(i.Audiences, v)
	case []any:
		for _, element := range v {
			s, ok := element.(string)
			if !ok {
				return BecauseOf(ClaimType, "aud", "has a member that is %s; its members must be strings", TypeName(element))
			}
			named, accepted = named+1, accepted || slices.Contains(i.Audiences, s)
		}
	default:
		if present && v != nil {
			return BecauseOf(ClaimType, "aud", "is %s; it must be a string or an array of strings", TypeName(v))
		}
	}
	switch {
	case accepted:
		return nil
	case named == 0:
		return BecauseOf(WrongAudience, "aud", "names no audience")
	}
	return BecauseOf(WrongAudience, "aud", "names none of the accepted audiences")
}

// checkSignature returns the key of the issuer that signed the token. A key is used only with its own algorithm.
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
