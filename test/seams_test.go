package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOnePlace: some things are implemented in one place, and all other packages of the sidecar use it.
func TestOnePlace(t *testing.T) {
	tests := map[string]struct {
		pattern *regexp.Regexp
		// place is the folder that may match.
		place  string
		reason string
		// within are the folders to check; nil means all.
		within []string
	}{
		"ResponseWriters": {regexp.MustCompile(`Unwrap\(\) http\.ResponseWriter`), "httpkit/response", "embed response.Writer", nil},
		"request bodies": {regexp.MustCompile(`\b(MaxBytesReader|ParseForm|ParseMultipartForm|MultipartReader|PostForm|FormValue|PostFormValue)\b`), "httpkit/reqbody",
			"reqbody bounds bodies and replays them to the app", nil},
		"Connection":      {regexp.MustCompile(`\["Connection"\]|Get\("Connection"\)`), "stages/hopbyhop", "only one stage reads a client's hop-by-hop fields", nil},
		"a request's TLS": {regexp.MustCompile(`\br\.TLS\b`), "", "TLS belongs to conn/listen: stages do not ask for it", []string{"stages", "httpkit", "login"}},
		"TLS":             {regexp.MustCompile(`"crypto/tls"`), "listen", "framing is above TLS and does not depend on it", []string{"conn/framing", "conn/passthrough"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.within == nil {
				tt.within = []string{"."}
			}
			for _, folder := range tt.within {
				for path, text := range sources(t, filepath.Join("..", "sidecar", folder)) {
					if at := tt.pattern.FindString(text); at != "" && filepath.Dir(path) != filepath.Join("..", "sidecar", tt.place) {
						t.Errorf("%s has %q: %s", path, at, tt.reason)
					}
				}
			}
		})
	}
}

// sources returns the Go files below root, without tests.
func sources(t *testing.T, root string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		texts[path] = string(text)
		return err
	})
	if err != nil || len(texts) == 0 {
		t.Fatalf("reading the sources in %s: %d, %v", root, len(texts), err)
	}
	return texts
}
