package chain

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestOutagesAreDocumented: docs/outages.md names every refusal that the matrices expect, and none that they do not.
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
	expect := func(answers map[string]string) {
		for _, answer := range answers {
			if strings.Contains(answer, " ") {
				expected[answer] = true
			}
		}
	}
	normal := healthy()
	maps.Copy(normal, heldHealthy())
	for _, o := range outages() {
		expect(o.want)
		expect(o.wantAllow)
	}
	for _, answer := range slices.Sorted(maps.Keys(expected)) {
		if !documented[answer] && !slices.Contains(slices.Collect(maps.Values(normal)), answer) {
			t.Errorf("a matrix expects %q, which the page does not have", answer)
		}
	}
	for _, answer := range slices.Sorted(maps.Keys(documented)) {
		if !expected[answer] {
			t.Errorf("the page has %q, which no matrix expects", answer)
		}
	}
}
