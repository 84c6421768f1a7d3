package jwt

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// maxDate is the last second of the year 9999. Later dates are mistakes or attacks on the arithmetic.
const maxDate = 253402300799

// Dates are the numeric dates of a token (RFC 7519 §4.1). Expires is never zero. NotBefore and Issued are zero if the token does
// not have them.
type Dates struct {
	Expires, NotBefore, Issued time.Time
}

func readDates(claims map[string]any) (Dates, error) {
	var d Dates
	for name, field := range map[string]*time.Time{"exp": &d.Expires, "nbf": &d.NotBefore, "iat": &d.Issued} {
		v, ok := claims[name]
		if !ok {
			continue
		}
		if *field, ok = date(v); !ok {
			return Dates{}, Malformed
		}
	}
	if d.Expires.IsZero() { // exp is optional in RFC 7519, but required here
		return Dates{}, Malformed
	}
	return d, nil
}

// date reads a NumericDate: seconds since 1970, with an optional fraction.
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

// CheckDates compares the dates of a token with now. It is called before the first verification and at each use of a cached
// token.
func (i *Issuer) CheckDates(d Dates, now time.Time) error {
	switch {
	case !now.Before(d.Expires.Add(i.Leeway)):
		return Expired
	case !d.NotBefore.IsZero() && now.Add(i.Leeway).Before(d.NotBefore):
		return NotYetValid
	case !d.Issued.IsZero() && now.Add(i.Leeway).Before(d.Issued):
		return NotYetValid
	}
	if i.MaxLifetime == 0 {
		return nil
	}
	if d.Issued.IsZero() || d.Expires.Sub(d.Issued) > i.MaxLifetime {
		return LifetimeTooLong
	}
	return nil
}
