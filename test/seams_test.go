package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOnePlace: some things are written once, and every other package of the sidecar uses that.
func TestOnePlace(t *testing.T) {
	tests := map[string]struct {
		pattern *regexp.Regexp
		// place is the folder that may match.
		place  string
		reason string
	}{
		"ResponseWriters": {regexp.MustCompile(`Unwrap\(\) http\.ResponseWriter`), "httpkit/response", "embed response.Writer"},
		"request bodies": {regexp.MustCompile(`\b(MaxBytesReader|ParseForm|ParseMultipartForm|MultipartReader|PostForm|FormValue|PostFormValue)\b`), "httpkit/reqbody",
			"reqbody bounds bodies, and gives them to the app again"},
		"Connection": {regexp.MustCompile(`\["Connection"\]|Get\("Connection"\)`), "stages/hopbyhop", "only one stage reads a client's hop-by-hop fields"},
		"TLS":        {regexp.MustCompile(`\br(eq(uest)?)?\.TLS\b`), "conn/listen", "TLS ends below HTTP: a request's TLS is never set"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join("..", "sidecar")
			err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
					return err
				}
				if strings.HasPrefix(path, filepath.Join(root, tt.place)+string(filepath.Separator)) {
					return nil
				}
				text, err := os.ReadFile(path)
				if at := tt.pattern.FindIndex(text); at != nil {
					t.Errorf("%s has %q: %s", path, text[at[0]:at[1]], tt.reason)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
