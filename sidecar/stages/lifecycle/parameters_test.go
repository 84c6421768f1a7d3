package lifecycle

import (
	"net/url"
	"slices"
	"testing"
)

// FuzzMethodParameters: whatever Go's own parser finds is found, in any surroundings.
func FuzzMethodParameters(f *testing.F) {
	f.Add("x=1;_method=DELETE", "&%zz")
	f.Add("%5fmethod=put", "+")
	f.Fuzz(func(t *testing.T, raw, more string) {
		found := slices.Collect(methodParameters(raw + "&" + more))
		values, _ := url.ParseQuery(raw)
		for _, value := range values[overrideParameter] {
			if !slices.Contains(found, methodOf(value)) {
				t.Errorf("%q: %q is not in %q", raw, value, found)
			}
		}
	})
}
