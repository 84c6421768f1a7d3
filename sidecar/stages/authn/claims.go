package authn

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
)

// maxDate is the last second of the year 9999; later dates are mistakes or attacks on arithmetic.
const maxDate = 253402300799

// times are the numeric dates of a token (RFC 7519 §4.1); zero where it has none. Expires is never zero.
type times struct {
	expires, notBefore, issued time.Time
}

func readTimes(claims map[string]any) (times, error) {
	var t times
	for name, field := range map[string]*time.Time{"exp": &t.expires, "nbf": &t.notBefore, "iat": &t.issued} {
		v, ok := claims[name]
		if !ok {
			continue
		}
		if *field, ok = date(v); !ok {
			return times{}, reasonMalformed
		}
	}
	if t.expires.IsZero() { // RFC 7519 leaves exp out; here a token always ends
		return times{}, reasonMalformed
	}
	return t, nil
}

// date reads a NumericDate: seconds since 1970, perhaps with a fraction.
func date(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxDate {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), true
}

// check compares the dates with the clock.
func (t times) check(p *provider, now time.Time) error {
	switch {
	case !now.Before(t.expires.Add(p.Leeway)):
		return reasonExpired
	case !t.notBefore.IsZero() && now.Add(p.Leeway).Before(t.notBefore):
		return reasonNotYet
	case !t.issued.IsZero() && now.Add(p.Leeway).Before(t.issued):
		return reasonNotYet
	}
	if p.MaxLifetime == 0 {
		return nil
	}
	if t.issued.IsZero() || t.expires.Sub(t.issued) > p.MaxLifetime {
		return reasonLifetime
	}
	return nil
}

// checkAudience looks for one of the provider's audiences in "aud", a string or an array of strings.
func checkAudience(p *provider, claims map[string]any) error {
	var audiences []string
	switch v := claims["aud"].(type) {
	case nil:
	case string:
		audiences = []string{v}
	case []any:
		for _, element := range v {
			s, ok := element.(string)
			if !ok {
				return reasonMalformed
			}
			audiences = append(audiences, s)
		}
	default:
		return reasonMalformed
	}
	if len(p.Audiences) == 0 {
		return nil
	}
	for _, a := range audiences {
		if slices.Contains(p.Audiences, a) {
			return nil
		}
	}
	return reasonAudience
}

// newIdentity makes the identity of a verified token.
func newIdentity(p *provider, claims map[string]any, t times) (*identity.Identity, error) {
	id := &identity.Identity{
		Provider: p.Name, Issuer: p.Issuer, IssuedAt: t.issued, Expires: t.expires, Claims: claims,
	}
	for name, field := range map[string]*string{"sub": &id.Subject, "jti": &id.TokenID} {
		v, ok := claims[name]
		if !ok {
			continue
		}
		if *field, ok = v.(string); !ok {
			return nil, reasonMalformed
		}
	}
	for _, c := range p.RequiredClaims {
		if !c.met(id) {
			return nil, reasonClaim
		}
	}
	return id, nil
}

func (c RequiredClaim) met(id *identity.Identity) bool {
	v, _ := id.Claim(c.Claim)
	if v == nil {
		return false
	}
	if len(c.Values) == 0 {
		return true
	}
	if list, ok := v.([]any); ok {
		return slices.ContainsFunc(list, c.matches)
	}
	return c.matches(v)
}

func (c RequiredClaim) matches(v any) bool {
	text, ok := scalar(v)
	return ok && slices.Contains(c.Values, text)
}

// scalar writes a string as it is, and a number or boolean as JSON does.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}
