package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/posterndev/postern/api/compiled"
)

func TestDamper(t *testing.T) {
	redis := compiled.Problem{Kind: compiled.ProblemRedis, Reason: "Unavailable", Message: "a"}
	vault := compiled.Problem{Kind: compiled.ProblemVault, Reason: "Sealed", Message: "b"}
	other := redis
	other.Message = "dial tcp 10.0.0.1:6379, attempt 2"
	keys := func(message string) compiled.Problem {
		return compiled.Problem{Kind: compiled.ProblemKeys, Reason: "Unavailable", Message: message}
	}
	okta, entra := keys("okta: connection refused"), keys("entra: connection refused")
	tests := map[string]struct {
		seen [][]compiled.Problem
		want []compiled.Problem
	}{
		"nothing":              {[][]compiled.Problem{nil, nil, nil, nil}, nil},
		"a moment":             {[][]compiled.Problem{{redis}, {redis}, nil, nil}, nil},
		"it lasts":             {[][]compiled.Problem{{redis}, {redis}, {redis}}, []compiled.Problem{redis}},
		"its message changes":  {[][]compiled.Problem{{redis}, {other}, {redis}, {other}}, []compiled.Problem{redis}},
		"another provider":     {[][]compiled.Problem{{okta}, {okta}, {okta}, {entra}, {entra}, {entra}}, []compiled.Problem{entra}},
		"another for a moment": {[][]compiled.Problem{{okta}, {okta}, {okta}, {entra}, {entra}, {okta}}, []compiled.Problem{okta}},
		"its provider's error changes": {[][]compiled.Problem{{okta}, {okta}, {okta}, {keys("okta: attempt 1")}, {keys("okta: attempt 2")}, {keys("okta: attempt 3")}},
			[]compiled.Problem{okta}},
		"it comes and goes":    {[][]compiled.Problem{{redis}, nil, {redis}, nil, {redis}, nil}, nil},
		"it ends":              {[][]compiled.Problem{{redis}, {redis}, {redis}, nil, nil, nil}, nil},
		"it ends for a moment": {[][]compiled.Problem{{redis}, {redis}, {redis}, nil, nil, {redis}}, []compiled.Problem{redis}},
		"another comes":        {[][]compiled.Problem{{redis}, {redis}, {redis}, {vault, redis}, {vault, redis}, {vault, redis}}, []compiled.Problem{vault, redis}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := damper{document: "a", samples: 5}
			var got []compiled.Problem
			for _, seen := range tt.seen {
				got = d.settle("a", seen)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("reported %v; want %v", got, tt.want)
			}
		})
	}
}

// TestDamperOfANewDocument: a mistake in a new document is reported with the second sample.
func TestDamperOfANewDocument(t *testing.T) {
	d := damper{document: "a", samples: 5}
	key := []compiled.Problem{{Kind: compiled.ProblemSigningKey, Reason: "Unavailable"}}
	if got := d.settle("b", key); len(got) > 0 {
		t.Errorf("reported at the first sample: %v", got)
	}
	if got := d.settle("b", key); !slices.Equal(got, key) {
		t.Errorf("reported %v at the second; want %v", got, key)
	}
	if got := d.settle("b", nil); !slices.Equal(got, key) {
		t.Errorf("reported %v at the third; it may be resolved at the next sample", got)
	}
}

// TestDamperOfMessages: a message that stays replaces the reported one, which may be only that the first attempt is in progress. One that
// differs in each sample causes no reports.
func TestDamperOfMessages(t *testing.T) {
	keys := func(message string) []compiled.Problem {
		return []compiled.Problem{{Kind: compiled.ProblemKeys, Reason: "Unavailable", Message: message}}
	}
	pending, cause := keys("okta: the keys were not loaded yet"), keys("okta: context deadline exceeded")
	var d damper
	reported := func(seen []compiled.Problem, times int) (got []compiled.Problem) {
		for range times {
			got = d.settle("a", seen)
		}
		return got
	}
	if got := reported(pending, 5); !slices.Equal(got, pending) {
		t.Fatalf("reported %v", got)
	}
	if got := reported(cause, longLookBack-1); !slices.Equal(got, pending) {
		t.Errorf("reported %v after %d samples", got, longLookBack-1)
	}
	if got := reported(cause, 1); !slices.Equal(got, cause) {
		t.Errorf("reported %v after %d samples", got, longLookBack)
	}
	for i := range 3 * longLookBack {
		if got := d.settle("a", keys(fmt.Sprintf("okta: attempt %d", i))); !slices.Equal(got, cause) {
			t.Fatalf("reported %v", got)
		}
	}
}

// TestReportsAreShort: the operator refuses a longer report, and then does not know what the sidecar runs.
func TestReportsAreShort(t *testing.T) {
	long := compiled.Problem{Kind: compiled.ProblemVault, Reason: "Refused", Message: strings.Repeat("ä", maxProblemText)}
	var d damper
	for range lookBack {
		d.settle("", []compiled.Problem{long})
	}
	got := d.reported[0].Message
	if len(got) > maxProblemText || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}
