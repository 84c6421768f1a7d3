package chain

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOutagesAreDocumented: docs/outages.md lists exactly the refusals that the matrices expect.
func TestOutagesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/outages.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("\\b([45]\\d\\d) `([a-z_-]+)`").FindAllStringSubmatch(string(page), -1) {
		documented[m[1]+" "+m[2]] = true
	}
	expected := map[string]bool{}
	expect := func(responses map[string]string) {
		for _, response := range responses {
			if strings.Contains(response, " ") {
				expected[response] = true
			}
		}
	}
	normal := healthy()
	maps.Copy(normal, heldHealthy())
	for _, o := range outages() {
		expect(o.want)
		expect(o.wantAllow)
	}
	for _, response := range slices.Sorted(maps.Keys(expected)) {
		if !documented[response] && !slices.Contains(slices.Collect(maps.Values(normal)), response) {
			t.Errorf("a matrix expects %q, which the page does not list", response)
		}
	}
	for _, response := range slices.Sorted(maps.Keys(documented)) {
		if !expected[response] {
			t.Errorf("the page lists %q, which no matrix expects", response)
		}
	}
}
