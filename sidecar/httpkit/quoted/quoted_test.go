package quoted

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestHide(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "nothing quoted": "nothing quoted", `malformed: "a\"b\\" and "c"; err=x`: `malformed: "…" and "…"; err=x`, `cut "off`: `cut "…"`, `cut "off\`: `cut "…"`, `""`: `"…"`, `a"`: `a"…"`,
	} {
		if got := Hide(text); got != want {
			t.Errorf("%q: %q; want %q", text, got, want)
		}
	}
}

func TestError(t *testing.T) {
	cause := errors.New(`bad "secret"`)
	err := Error(fmt.Errorf("reading: %w", cause))
	if !errors.Is(err, cause) || err.Error() != `reading: bad "…"` {
		t.Error(err)
	}
	if plain := errors.New("plain"); Error(plain) != plain || Error(nil) != nil {
		t.Error("an error without quotations was changed")
	}
}

func FuzzHide(f *testing.F) {
	f.Add("secret\"\\")
	f.Fuzz(func(t *testing.T, secret string) {
		if got := Hide(fmt.Sprintf("before %q after", secret)); got != `before "…" after` {
			t.Error(got)
		}
		if got := Hide(secret); strings.Count(got, `"`)%2 != 0 {
			t.Error(got)
		}
	})
}
