package renewal

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// maxExpiry is the last second of the year 9999; a later exp counts as this.
const maxExpiry = 253402300799

// expiry returns the exp of an access token without verifying the token; zero for a text that has none. It decides only whether the
// refresh token is tried, which is verified.
func expiry(access string) time.Time {
	_, rest, _ := strings.Cut(access, ".")
	payload, _, ok := strings.Cut(rest, ".")
	if !ok {
		return time.Time{}
	}
	claims, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return time.Time{}
	}
	var c struct {
		Exp *float64 `json:"exp"`
	}
	if json.Unmarshal(claims, &c) != nil || c.Exp == nil || *c.Exp < 0 {
		return time.Time{}
	}
	return time.Unix(int64(min(*c.Exp, maxExpiry)), 0)
}
