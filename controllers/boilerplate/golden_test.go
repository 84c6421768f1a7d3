package boilerplate

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// now is the time of the golden files.
var now = time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)

// shop are the options of the golden files.
func shop() Options {
	return Options{Name: "shop", Namespace: "shop", Selector: "app=shop", EnvFile: ".env", Now: now}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestGolden translates settings as apps of each kind have them. cmd/postern lints the same settings.
func TestGolden(t *testing.T) {
	shapes, err := filepath.Glob("testdata/*/settings.env")
	if err != nil || len(shapes) < 5 {
		t.Fatalf("found %d settings, error %v", len(shapes), err)
	}
	for _, path := range shapes {
		folder := filepath.Dir(path)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			settings, err := Read(readFile(t, path))
			if err != nil {
				t.Fatal(err)
			}
			result, err := Translate(settings, shop())
			if err != nil {
				t.Fatal(err)
			}
			for name, got := range map[string][]byte{
				"sidecarclass.yaml": result.Class, "securitypolicy.yaml": result.Policy, "secrets.sh": result.Commands, "report.txt": []byte(result.Report),
			} {
				golden := filepath.Join(folder, name)
				if *update {
					if err := os.WriteFile(golden, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if want := readFile(t, golden); !bytes.Equal(got, want) {
					t.Errorf("%s is not the golden file; if the change is wanted, run go test -update. Got:\n%s", name, got)
				}
			}
			again, err := Translate(settings, shop())
			if err != nil || again.Report != result.Report || !bytes.Equal(again.Policy, result.Policy) {
				t.Errorf("a second translation differs, error %v", err)
			}
		})
	}
}
