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
	fields := [...]*time.Time{&d.Expires, &d.NotBefore, &d.Issued}
	for i, name := range [...]string{"exp", "nbf", "iat"} {
		field := fields[i]
		v, ok := claims[name]
		if !ok {
			continue
		}
		var err error
		if *field, err = date(name, v); err != nil {
			return Dates{}, err
		}
	}
	if d.Expires.IsZero() { // exp is optional in RFC 7519, but required here
		return Dates{}, BecauseOf(MissingClaim, "exp", "is absent; every token needs it")
	}
	return d, nil
}

// date reads a NumericDate: seconds since 1970, with an optional fraction.
func date(claim string, v any) (time.Time, error) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, BecauseOf(ClaimType, claim, "is %s; it must be a number of seconds", TypeName(v))
	}
	seconds, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxDate {
		return time.Time{}, BecauseOf(ClaimRange, claim, "is not between 0 and %d seconds since 1970", int64(maxDate))
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), nil
}

// CheckDates compares the dates of a token with now. It is called before the first verification and at each use of a cached
// token.
func (i *Issuer) CheckDates(d Dates, now time.Time) error {
	switch {
	case !i.Until.IsZero() && !now.Before(i.Until):
		return Ended
	case !now.Before(d.Expires.Add(i.Leeway)):
		return BecauseOf(Expired, "exp", "is in the past by more than the leeway of %s", i.Leeway)
	case !d.NotBefore.IsZero() && now.Add(i.Leeway).Before(d.NotBefore):
		return BecauseOf(NotYetValid, "nbf", "is in the future by more than the leeway of %s", i.Leeway)
	case !d.Issued.IsZero() && now.Add(i.Leeway).Before(d.Issued):
		return BecauseOf(NotYetValid, "iat", "is in the future by more than the leeway of %s", i.Leeway)
	case i.MaxLifetime == 0:
		return nil
	case d.Issued.IsZero():
		return BecauseOf(LifetimeTooLong, "iat", "is absent; maxLifetime needs it")
	case d.Expires.Sub(d.Issued) > i.MaxLifetime:
		return BecauseOf(LifetimeTooLong, "exp", "is later than iat by more than the maxLifetime of %s", i.MaxLifetime)
	}
	return nil
}
