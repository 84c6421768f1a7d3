package check

import (
	"testing"
	"time"

	"github.com/posterndev/postern/api/check/keyset"
	"github.com/posterndev/postern/api/compiled"
)

// FuzzParseRate: an accepted rate has a count and a period within the bounds, and Rate and Burst check it without overflow.
func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"5/minute", "100/15m", "999999999/second", "1/744h", "1/745h", "0/s", "/", "5/", "5/1d"} {
		f.Add(seed, 1)
	}
	f.Fuzz(func(t *testing.T, s string, burst int) {
		count, period, err := ParseRate(s)
		if err != nil {
			return
		}
		if count < 1 || period < time.Second || period > MaxRatePeriod {
			t.Fatalf("%q is %d in %s", s, count, period)
		}
		if Rate(count, period) == nil && Burst(count, period, burst) == nil {
			if span := Emission(count, period) * time.Duration(burst); span <= 0 || span > MaxRateSpan {
				t.Fatalf("%q with a burst of %d becomes available again in %s", s, burst, span)
			}
		}
	})
}

// FuzzInlineKeys: an accepted set has a usable key.
func FuzzInlineKeys(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, `{"keys":[]}`, `{"keys":[{}]}`, `{"keys":[{"kty":"EC"}]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		set, err := InlineKeys(&compiled.Provider{Algorithms: []string{"ES256", "RS256", "EdDSA"}, Keys: compiled.Keys{Inline: document}})
		if len(document) > keyset.MaxSize && err == nil || err == nil && set.Len() == 0 {
			t.Fatal("a set without a key is accepted")
		}
	})
}
