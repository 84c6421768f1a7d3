package loginprotection

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// TestCanonical: no spelling of an account gives further guesses, and different accounts stay apart.
func TestCanonical(t *testing.T) {
	same := map[string][]string{
		"ada@example.com": {"ADA@EXAMPLE.COM", " ada@example.com\t", "ａｄａ＠example.com", "ada@exa\u1d50ple.com", "\u00a0ada@example.com\u3000"},
		"straße":          {"STRASSE", "strasse", "STRAẞE"},
		"é":               {"e\u0301", "É", "E\u0301"},
		"ﬁn":              {"fin", "FIN"},
		"ß":               {"ss", "SS"},
		"ſ":               {"s", "S"},
		"\u212a":          {"k", "K"},
		"Σίσυφος":         {"ΣΊΣΥΦΟΣ", "σίσυφοσ"},
	}
	for name, others := range same {
		for _, other := range others {
			if Canonical(name) != Canonical(other) {
				t.Errorf("%q is %q and %q is %q", name, Canonical(name), other, Canonical(other))
			}
		}
	}
	for _, pair := range [][2]string{{"ada@example.com", "ada+shop@example.com"}, {"ada", "adá"}, {"ada", "a da"}, {"a.da", "ada"}, {"аda", "ada"}} {
		if Canonical(pair[0]) == Canonical(pair[1]) {
			t.Errorf("%q and %q count together", pair[0], pair[1])
		}
	}
	if Canonical(" \t\u00a0") != "" {
		t.Error("white space names an account")
	}
}

// FuzzCanonical: the form of a form is itself, its length is bounded, and case does not matter.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"Ada@Example.com", "ＡＤＡ", "ß", "\u0345", "ΐ", "\xff", "İ", "\u1e9b\u0323", strings.Repeat("ﷺ", 400)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := Canonical(name)
		if !utf8.ValidString(got) || len(got) > 40*maxAccount {
			t.Errorf("%q becomes %d bytes", name, len(got))
		}
		if len(got) < maxAccount && Canonical(got) != got {
			t.Errorf("%q becomes %q, and that %q", name, got, Canonical(got))
		}
	})
}
