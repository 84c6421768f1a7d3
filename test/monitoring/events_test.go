package monitoring

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// TestEventNames: dashboards and alerts select only events that exist. A name that does not shows an empty panel among others that are not.
func TestEventNames(t *testing.T) {
	known := map[string]bool{}
	for k := event.Kind(0); k.String() != "unknown"; k++ {
		known[k.String()] = true
	}
	var files []string
	for _, pattern := range []string{"dashboards/*.json", "*.yaml"} {
		found, err := filepath.Glob(filepath.Join(chart, "files", pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	matcher, names := regexp.MustCompile(`[{,]event=~?\\?"([^"\\]*)`), 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range matcher.FindAllStringSubmatch(string(b), -1) {
			for _, name := range strings.Split(m[1], "|") {
				if names++; !known[name] {
					t.Errorf("%s selects the event %q, which does not exist", filepath.Base(file), name)
				}
			}
		}
	}
	if names < 10 {
		t.Errorf("%d names", names)
	}
}
