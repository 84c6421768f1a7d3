package loginprotection

import (
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// TestCanonicalCase: what an app or its database makes of a name by upper or lower case is the same account. PostgreSQL maps one character to
// one, as package unicode does; Java and Python map some to several, as package strings does with the others.
func TestCanonicalCase(t *testing.T) {
	mappings := map[string]func(string) string{
		"one to one, upper": func(s string) string { return strings.Map(unicode.ToUpper, s) },
		"one to one, lower": func(s string) string { return strings.Map(unicode.ToLower, s) },
		"many, upper":       cases.Upper(language.Und).String,
		"many, lower":       cases.Lower(language.Und).String,
		"Turkish upper":     func(s string) string { return strings.ToUpperSpecial(unicode.TurkishCase, s) },
		"Turkish lower":     func(s string) string { return strings.ToLowerSpecial(unicode.TurkishCase, s) },
	}
	n := 0
	for r := rune(0); r < 0x20000; r++ {
		if unicode.In(r, unicode.Han, unicode.Hangul, unicode.Co, unicode.Cs) || !unicode.IsGraphic(r) {
			continue // no letters with case
		}
		name := "a" + string(r) + "b"
		for label, f := range mappings {
			if got := f(name); got != name && Canonical(got) != Canonical(name) {
				if n++; n < 20 {
					t.Errorf("%s: %q (%U) is %q, and %q is %q", label, name, r, Canonical(name), got, Canonical(got))
				}
			}
		}
	}
}
