package session

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestRefreshReadsBack(t *testing.T) {
	r := NewRefresh(NewID())
	token := string(r.Token().Reveal())
	got, err := ParseRefresh(token)
	if err != nil || got != r || got.Hash() != r.Hash() || got.Proof() != r.Proof() {
		t.Errorf("ParseRefresh = %v; want what was written", err)
	}
	if !strings.HasPrefix(token, r.ID+".") || len(token) != 22+1+64 {
		t.Errorf("a token of %d characters", len(token))
	}
}

func TestNextNeedsTokenAndSalt(t *testing.T) {
	r, salt := NewRefresh(NewID()), NewSalt()
	next := r.Next(salt)
	if next != r.Next(salt) || next.ID != r.ID || next.Proof() != r.Proof() || next.Hash() == r.Hash() {
		t.Error("Next is not deterministic")
	}
	if next == r.Next(NewSalt()) || next == NewRefresh(r.ID).Next(salt) {
		t.Error("Next is the same for another salt or token")
	}
	other := NewSalt()
	if r.Follow([]Salt{salt, other}) != next.Next(other) || r.Follow(nil) != r {
		t.Error("Follow returns another token")
	}
}

func TestParseRefreshRefuses(t *testing.T) {
	good := string(NewRefresh(NewID()).Token().Reveal())
	tests := map[string]string{
		"nothing":          "",
		"no dot":           strings.Replace(good, ".", "", 1),
		"only an id":       good[:22],
		"a short id":       good[1:],
		"a short secret":   good[:len(good)-1],
		"a long secret":    good + "A",
		"another alphabet": strings.Replace(good, good[30:31], "+", 1),
		"padding":          good + "=",
		"a line break":     good[:50] + "\n" + good[51:],
		"two tokens":       good + "." + good,
		"trailing bits":    NewID()[:21] + "B" + good[22:],
	}
	for name, token := range tests {
		if _, err := ParseRefresh(token); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: ParseRefresh = %v", name, err)
		}
	}
}

func TestValidID(t *testing.T) {
	good := NewID()
	for name, id := range map[string]string{
		"empty": "", "short": good[1:], "long": good + "A", "a line break": good[:10] + "\n" + good[11:20] + "A\r", "padding": good[:20] + "==", "braces": "}{" + good[2:],
	} {
		if ValidID(id) {
			t.Errorf("%s: %q is valid", name, id)
		}
	}
	if !ValidID(good) || NewID() == good {
		t.Errorf("%q is not valid or not random", good)
	}
}

func TestRefreshIsRedacted(t *testing.T) {
	r := NewRefresh(NewID())
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, r); got != "[redacted]" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func TestExternalIDsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, pair := range [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", ""}, {"", "abc"}, {"A", "bc"}} {
		id := ExternalID(pair[0], pair[1])
		if seen[id] || !ValidID(id) {
			t.Errorf("%v has the id %q", pair, id)
		}
		seen[id] = true
	}
}

func FuzzParseRefresh(f *testing.F) {
	f.Add(string(NewRefresh(NewID()).Token().Reveal()))
	f.Add("AAAAAAAAAAAAAAAAAAAAAA.")
	f.Fuzz(func(t *testing.T, token string) {
		r, err := ParseRefresh(token)
		if err == nil && string(r.Token().Reveal()) != token {
			t.Errorf("%q parses as %q; a token has only one form", token, r.Token().Reveal())
		}
	})
}
