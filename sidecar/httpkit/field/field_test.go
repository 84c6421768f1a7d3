package field

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check"
)

func TestElements(t *testing.T) {
	tests := map[string]struct {
		lines []string
		want  []string
	}{
		"none":           {},
		"one":            {lines: []string{"a"}, want: []string{"a"}},
		"several":        {lines: []string{"a, b\t,c"}, want: []string{"a", "b", "c"}},
		"several lines":  {lines: []string{"a", "b,c"}, want: []string{"a", "b", "c"}},
		"empty elements": {lines: []string{",a, ,,b,", ""}, want: []string{"a", "b"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := slices.Collect(Elements(tt.lines)); !slices.Equal(got, tt.want) {
				t.Errorf("Elements(%q) = %q; want %q", tt.lines, got, tt.want)
			}
		})
	}
	if n := len(slices.Collect(Elements([]string{strings.Repeat("a,", 10*maxTokens)}))); n != maxTokens {
		t.Errorf("a long list has %d elements; want %d", n, maxTokens)
	}
}

func TestAddVary(t *testing.T) {
	tests := map[string]struct {
		have []string
		add  []string
		want []string
	}{
		"none yet":         {add: []string{"Origin"}, want: []string{"Origin"}},
		"another":          {have: []string{"Accept"}, add: []string{"Origin"}, want: []string{"Accept", "Origin"}},
		"already":          {have: []string{"accept, origin"}, add: []string{"Origin"}, want: []string{"accept, origin"}},
		"everything":       {have: []string{"*"}, add: []string{"Origin"}, want: []string{"*"}},
		"several":          {have: []string{"B"}, add: []string{"A", "B", "C"}, want: []string{"B", "A", "C"}},
		"a name within":    {have: []string{"X-Origin"}, add: []string{"Origin"}, want: []string{"X-Origin", "Origin"}},
		"the same twice":   {add: []string{"Origin", "origin"}, want: []string{"Origin"}},
		"a broken element": {have: []string{",,a b"}, add: []string{"Origin"}, want: []string{",,a b", "Origin"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := http.Header{"Vary": tt.have}
			AddVary(h, tt.add...)
			if !slices.Equal(h["Vary"], tt.want) {
				t.Errorf("Vary %q with %q is %q; want %q", tt.have, tt.add, h["Vary"], tt.want)
			}
		})
	}
}

func FuzzAddVary(f *testing.F) {
	f.Add("Accept, Origin", "Origin")
	f.Add("*", "A")
	f.Add(",,", "Accept-Encoding")
	f.Fuzz(func(t *testing.T, have, add string) {
		if !check.IsToken(add) {
			t.Skip()
		}
		h := http.Header{"Vary": {have}}
		AddVary(h, add)
		once := len(h["Vary"])
		AddVary(h, add)
		if len(h["Vary"]) != once && strings.Count(have, ",") < maxTokens-2 {
			t.Fatalf("Vary %q names %q twice: %q", have, add, h["Vary"])
		}
	})
}
