package breached

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/lookup/service"
)

// list writes the passwords as a sorted list, and the count of each is its index plus one.
func list(t testing.TB, newline string, lower bool, passwords ...string) *File {
	t.Helper()
	var lines []string
	for i, p := range passwords {
		line := fmt.Sprintf("%s:%d", digest(p), i+1)
		if lower {
			line = strings.ToLower(line)
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, newline)), 0o600); err != nil {
		t.Fatal(err)
	}
	return open(path)
}

func open(path string) *File {
	return NewFile(filepath.Dir(path), filepath.Base(path), time.Minute, NewPlaces())
}

// TestFile: every password of a list is found, whatever its length and line ends, and no other.
func TestFile(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 100} {
		for name, newline := range map[string]string{"LF": "\n", "CRLF": "\r\n"} {
			for _, lower := range []bool{false, true} {
				var passwords []string
				for i := range n {
					passwords = append(passwords, fmt.Sprintf("password %d", i))
				}
				f := list(t, newline, lower, passwords...)
				for i, p := range passwords {
					if got, err := f.Count(t.Context(), p); err != nil || got != i+1 {
						t.Fatalf("%d lines, %s: %q has count %d, %v; want %d", n, name, p, got, err, i+1)
					}
				}
				for i := range 50 {
					if got, err := f.Count(t.Context(), fmt.Sprintf("another %d", i)); err != nil || got != 0 {
						t.Fatalf("%d lines, %s: a password that is not there has count %d, %v", n, name, got, err)
					}
				}
			}
		}
	}
}

func TestUnusableFiles(t *testing.T) {
	tests := map[string]string{
		"empty":               "",
		"text":                strings.Repeat("hello, world\n", 100),
		"one long line":       strings.Repeat("A", 10_000),
		"a long line between": digest("a") + ":1\n" + strings.Repeat("A", 10_000) + "\n",
		"plain passwords":     "password\n123456\n",
		"negative counts":     digest("x") + ":-5\n",
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "list.txt")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := open(path).Count(t.Context(), "x"); !errors.Is(err, service.ErrUnavailable) {
				t.Errorf("%v; want ErrUnavailable", err)
			}
		})
	}
	if _, err := open(filepath.Join(t.TempDir(), "missing")).Count(t.Context(), "x"); !errors.Is(err, service.ErrUnavailable) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestUnsortedFile: a list in another order, such as that of the counts, is unavailable, and no password of it is taken for one that is not in
// it.
func TestUnsortedFile(t *testing.T) {
	var lines []string
	for i := range 4000 {
		lines = append(lines, fmt.Sprintf("%s:%d\r\n", digest(fmt.Sprint(i)), 4000-i))
	}
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range lines {
		got, err := open(path).Count(t.Context(), fmt.Sprint(i))
		switch {
		case errors.Is(err, service.ErrUnavailable):
			refused++
		case got != 4000-i:
			t.Fatalf("%d has count %d, %v; want %d", i, got, err, 4000-i)
		}
	}
	if refused < len(lines)*9/10 {
		t.Errorf("%d look-ups were refused of %d", refused, len(lines))
	}
}

// TestURL: the server gets five digits of the hash and nothing else of the password.
func TestURL(t *testing.T) {
	hash := digest("hunter2")
	tests := map[string]struct {
		body    string
		status  int
		want    int
		wantErr bool
	}{
		"found":              {body: "0018A45C4D1DEF81644B54AB7F969B88D65:1\r\n" + hash[5:] + ":17043\r\n", want: 17043},
		"in lower case":      {body: strings.ToLower(hash[5:]) + ":2", want: 2},
		"not found":          {body: "0018A45C4D1DEF81644B54AB7F969B88D65:1\r\n"},
		"padding":            {body: hash[5:] + ":0\r\n"},
		"no list":            {body: "<html>", wantErr: true},
		"empty":              {wantErr: true},
		"an error":           {status: 429, wantErr: true},
		"a very long body":   {body: strings.Repeat("0018A45C4D1DEF81644B54AB7F969B88D65:1\r\n", 40_000), wantErr: true},
		"a count of letters": {body: hash[5:] + ":x\r\n", wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var path string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				path = r.URL.String()
				if tt.status != 0 {
					w.WriteHeader(tt.status)
				}
				_, _ = w.Write([]byte(tt.body))
			}))
			defer server.Close()
			c := service.NewClient(service.Config{})
			defer c.Close()
			got, err := URL{Base: server.URL + "/range/", Client: c}.Count(t.Context(), "hunter2")
			if got != tt.want || errors.Is(err, service.ErrUnavailable) != tt.wantErr {
				t.Errorf("%d, %v; want %d", got, err, tt.want)
			}
			if path != "/range/"+hash[:5] {
				t.Errorf("the server got %s", path)
			}
		})
	}
}

// FuzzSearch: any file gives a result or an error, after a bounded number of reads.
func FuzzSearch(f *testing.F) {
	f.Add([]byte(digest("a")+":1\n"+digest("b")+":2\n"), "a")
	f.Add([]byte("\n\n\n"), "")
	f.Fuzz(func(t *testing.T, content []byte, password string) {
		counted := &counting{data: content}
		if _, err := search(counted, int64(len(content)), digest(password)); err == nil && counted.reads > 80 {
			t.Errorf("%d reads of %d bytes", counted.reads, len(content))
		}
		_, _ = inRange(content, digest(password)[prefix:])
	})
}

type counting struct {
	data  []byte
	reads int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	return strings.NewReader(string(c.data)).ReadAt(p, off)
}

var _ = []Source{&File{}, URL{}}

func BenchmarkFile(b *testing.B) {
	var passwords []string
	for i := range 10_000 {
		passwords = append(passwords, fmt.Sprint(i))
	}
	f := list(b, "\n", false, passwords...)
	for b.Loop() {
		if _, err := f.Count(context.Background(), "5000"); err != nil {
			b.Fatal(err)
		}
	}
}
