package fieldset

import (
	"strings"
	"testing"
)

// FuzzHas compares Has with the definition: a name is in the set if its folded form is, or begins with a prefix.
func FuzzHas(f *testing.F) {
	f.Add("X-Forwarded-For,Forwarded,CF-*", "x_forwarded_for")
	f.Add("*", "")
	f.Add(",_a*", "-ABC")
	f.Add(strings.Repeat("a", 80)+","+strings.Repeat("b", 63), strings.Repeat("A", 80))
	f.Fuzz(func(t *testing.T, list, name string) {
		names := strings.Split(list, ",")
		want, folded := false, string(appendFolded(nil, name))
		for _, n := range names {
			prefix, ok := strings.CutSuffix(n, "*")
			in := string(appendFolded(nil, prefix))
			want = want || ok && strings.HasPrefix(folded, in) || !ok && folded == in
		}
		if got := New(names...).Has(name); got != want {
			t.Errorf("Has(%q) of %q: %v", name, list, got)
		}
		if (Names{}).Has(name) {
			t.Errorf("the zero value has %q", name)
		}
	})
}
