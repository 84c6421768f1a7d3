package field

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTrimSpace(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "space and tab": " \t", "control characters": "\x00\x1c\x1f\x7f", "next line of Latin-1": "\x85",
		"no-break space of Latin-1": "\xa0", "both in UTF-8": "\u0085\u00a0", "wide": "\u2000\u3000\u2028", "mixed": "\xa0\u2000 \x85",
	} {
		t.Run(name, func(t *testing.T) {
			if got := TrimSpace(s + "a b" + s); got != "a b" {
				t.Errorf("TrimSpace = %q", got)
			}
			if got := TrimLeftSpace(s + "a" + s); got != "a"+s {
				t.Errorf("TrimLeftSpace = %q", got)
			}
			if got := CookieName(s + "a" + s + "=" + s + "b"); got != "a" {
				t.Errorf("CookieName = %q", got)
			}
			if got := TrimSpace(s); got != "" {
				t.Errorf("of only whitespace: %q", got)
			}
		})
	}
	for _, s := range []string{"é", "\ufffd", "日本", "a\xff", "\xffa"} { // no whitespace at the ends
		if got := TrimSpace(s); got != s {
			t.Errorf("TrimSpace(%q) = %q", s, got)
		}
	}
}

func FuzzTrimSpace(f *testing.F) {
	for _, s := range []string{"", " a ", "\xa0\u2000a", "\u00e0", "\xc3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := TrimSpace(s)
		if !strings.Contains(s, got) || TrimSpace(got) != got || strings.TrimSpace(got) != got {
			t.Errorf("TrimSpace(%q) = %q", s, got)
		}
		if utf8.ValidString(s) && !utf8.ValidString(got) {
			t.Errorf("TrimSpace(%q) = %q: a rune was cut", s, got)
		}
	})
}
