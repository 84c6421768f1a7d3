package route

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check"
)

func TestMatch(t *testing.T) {
	all := []Match{{}}
	tests := map[string]struct {
		matches      []Match
		method, path string
		want         bool
	}{
		"no matches":                      {method: "GET", path: "/x", want: true},
		"an empty match":                  {matches: all, method: "GET", path: "/x", want: true},
		"an empty match and the asterisk": {matches: all, method: "OPTIONS", path: "*", want: true},
		"/** and the asterisk":            {matches: []Match{{Paths: []string{"/**"}}}, method: "OPTIONS", path: "*"},
		"method":                          {matches: []Match{{Methods: []string{"POST"}}}, method: "POST", path: "/x", want: true},
		"other method":                    {matches: []Match{{Methods: []string{"POST"}}}, method: "GET", path: "/x"},
		"HEAD is GET":                     {matches: []Match{{Methods: []string{"GET"}}}, method: "HEAD", path: "/x", want: true},
		"GET is not HEAD":                 {matches: []Match{{Methods: []string{"HEAD"}}}, method: "GET", path: "/x"},
		"methods are case-sensitive":      {matches: []Match{{Methods: []string{"GET"}}}, method: "get", path: "/x"},
		"both must hold":                  {matches: []Match{{Methods: []string{"POST"}, Paths: []string{"/a"}}}, method: "POST", path: "/b"},
		"any match is enough":             {matches: []Match{{Paths: []string{"/a"}}, {Paths: []string{"/b"}}}, method: "GET", path: "/b", want: true},
		"any path is enough":              {matches: []Match{{Paths: []string{"/a", "/b"}}}, method: "GET", path: "/b", want: true},
		"dimensions are not mixed across matches": {
			matches: []Match{{Methods: []string{"POST"}, Paths: []string{"/a"}}, {Methods: []string{"GET"}, Paths: []string{"/b"}}},
			method:  "POST", path: "/b",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := NewMatcher(tt.matches)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Match(tt.method, tt.path); got != tt.want {
				t.Errorf("Match(%q, %q) = %v; want %v", tt.method, tt.path, got, tt.want)
			}
		})
	}
}

func TestNewMatcherRefuses(t *testing.T) {
	tests := map[string]struct {
		match   Match
		wantErr string
	}{
		"empty method":       {match: Match{Methods: []string{""}}, wantErr: "leave methods out"},
		"lowercase method":   {match: Match{Methods: []string{"post"}}, wantErr: "capital letters"},
		"two methods in one": {match: Match{Methods: []string{"GET,POST"}}, wantErr: "capital letters"},
		"any method":         {match: Match{Methods: []string{"*"}}, wantErr: "leave methods out"},
		"method too long":    {match: Match{Methods: []string{strings.Repeat("A", 33)}}, wantErr: "longer than 32"},
		"bad pattern":        {match: Match{Paths: []string{"a"}}, wantErr: "must begin with /"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := NewMatcher([]Match{{}, tt.match})
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) || !strings.Contains(err.Error(), "match 1") {
				t.Errorf("NewMatcher: %v; want %q of match 1", err, tt.wantErr)
			}
		})
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	m, err := NewMatcher([]Match{{Methods: []string{"GET"}, Paths: []string{"/a/*/c", "/x/**"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := reader(t, Options{})
	n := testing.AllocsPerRun(100, func() {
		path, err := r.Read("/a/b/c/")
		if err != nil || !m.MatchAny("HEAD", &path.Target) || m.Match("GET", "/a/b") {
			t.Error("wrong result")
		}
	})
	if n != 0 {
		t.Errorf("normalising and matching a clean path takes %v allocations; want 0", n)
	}
}

// FuzzPatternsAreReached: every accepted pattern without stars is the path of some request.
func FuzzPatternsAreReached(f *testing.F) {
	for _, seed := range []string{"/", "/a/*", "/a/**", "/*/b", "a", "/a/", "/%41", "/**/a", "/é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := check.ParsePattern(s)
		if err != nil {
			return
		}
		// A pattern without stars must be a path that some request can have.
		if strings.Contains(s, "*") {
			return
		}
		path, _, err := normalize(strings.NewReplacer("%", "%25").Replace(s))
		if err != nil || !p.Match(path) || !p.Match(strings.TrimSuffix(path, "/")+"/") {
			t.Fatalf("the pattern %q is accepted and does not match the path %q (%v)", s, path, err)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	m, err := NewMatcher([]Match{
		{Paths: []string{"/public/**", "/healthz", "/api/v1/users/*"}},
		{Methods: []string{"GET", "POST"}, Paths: []string{"/api/v1/orders/*/items"}},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !m.Match("POST", "/api/v1/orders/1234/items") {
			b.Fatal("no match")
		}
	}
}

func TestFixed(t *testing.T) {
	m, err := NewMatcher([]Match{{Paths: []string{"/login", "/a/*", "/b/**"}}, {Methods: []string{"GET"}}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/login": true, "/login/": true, "/LOGIN": false, "/login/x": false, "/a/b": false, "/b/c": false, "/b": false, "/": false, "": false} {
		if got := m.Fixed(path); got != want {
			t.Errorf("%q: %v; want %v", path, got, want)
		}
	}
}
