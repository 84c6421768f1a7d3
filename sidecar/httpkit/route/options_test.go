package route

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// everything keeps all that can be kept.
func everything() Options {
	return Options{EncodedSlash: true, Semicolon: true, Backslash: true, DoubleEncoding: true}
}

func reader(t testing.TB, o Options, routes ...Route) *Reader {
	t.Helper()
	r, err := NewReader(o, routes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func all(t *Target) (out []string) {
	for i := range t.Readings() {
		out = append(out, t.Reading(i))
	}
	slices.Sort(out)
	return out
}

func TestReadings(t *testing.T) {
	slash, semicolon, backslash, double := Options{EncodedSlash: true}, Options{Semicolon: true}, Options{Backslash: true}, Options{DoubleEncoding: true}
	both := Options{EncodedSlash: true, Semicolon: true}
	tests := map[string]struct {
		options      Options
		path         string
		wantForward  string // the path itself if empty
		wantReadings []string
		wantErr      error
	}{
		"an encoded slash":                  {slash, "/g%2Fs/x", "", []string{"/g%2Fs/x", "/g/s/x"}, nil},
		"an encoded slash in small letters": {slash, "/g%2fs", "/g%2Fs", []string{"/g%2Fs", "/g/s"}, nil},
		"a segment that is a slash":         {slash, "/vhosts/%2F", "", []string{"/vhosts/%2F", "/vhosts//", "/vhosts/"}, nil},
		"a slash before dots":               {slash, "/a%2F..%2Fb", "", nil, ErrDotSegment},
		"dots after an encoded slash":       {slash, "/a%2F%2e%2e", "", nil, ErrDotSegment},
		"a backslash without the option":    {both, `/a\b`, "", nil, ErrBackslash},
		"a path parameter":                  {semicolon, "/a;x=1/b", "", []string{"/a;x=1/b", "/a/b"}, nil},
		"an encoded path parameter":         {semicolon, "/a%3Bx/b", "", []string{"/a;x/b", "/a/b", "/a"}, nil},
		"the app reads up to a semicolon":   {semicolon, "/admin%3B/x", "", []string{"/admin;/x", "/admin/x", "/admin"}, nil},
		"an unencoded path parameter":       {semicolon, "/a;x/b/c", "", []string{"/a;x/b/c", "/a/b/c"}, nil},
		"both kinds of semicolon":           {semicolon, "/a%3Bb;c", "", []string{"/a;b;c", "/a;b", "/a"}, nil},
		"a segment of parameters":           {semicolon, "/;x/admin", "", []string{"/;x/admin", "//admin", "/admin", "/"}, nil},
		"dots with a parameter":             {semicolon, "/a/..;x/b", "", nil, ErrDotSegment},
		"dots with an encoded parameter":    {semicolon, "/a/..%3Bx/b", "", nil, ErrDotSegment},
		"a slash in a parameter":            {both, "/a/b;x%2Fy", "", []string{"/a/b;x%2Fy", "/a/b", "/a/b;x/y", "/a/b/y"}, nil},
		"a slash before a parameter":        {both, "/a%2Fb;x%2Fy", "", []string{"/a%2Fb;x%2Fy", "/a%2Fb", "/a/b;x/y", "/a/b/y", "/a/b"}, nil},
		"dots in a parameter":               {both, "/a;x%2F..%2Fb", "", nil, ErrDotSegment},
		"a backslash":                       {backslash, `/a\b`, "/a%5Cb", []string{`/a\b`, "/a/b"}, nil},
		"an encoded backslash":              {backslash, "/a%5cb", "/a%5Cb", []string{`/a\b`, "/a/b"}, nil},
		"dots between backslashes":          {backslash, `/a\..\b`, "", nil, ErrDotSegment},
		"a slash that is encoded twice":     {double, "/q/50%252F50", "", []string{"/q/50%2F50", "/q/50/50"}, nil},
		"dots that are encoded twice":       {double, "/a/%252e%252e/b", "", nil, ErrDotSegment},
		"a newline that is encoded twice":   {double, "/a%250a", "", nil, ErrControl},
		"NUL that is encoded twice":         {double, "/a%2500", "", nil, ErrControl},
		"a slash, encoded three times":      {double, "/a%25252F", "", nil, ErrDoubleEncoding},
		"overlong dots, encoded twice":      {double, "/a%25c0%25ae", "", nil, ErrBadUTF8},
		"a letter that is encoded twice":    {double, "/%2561dmin", "", []string{"/%61dmin", "/admin"}, nil},
		"empty segments are kept":           {Options{}, "/fetch/https://h/x", "", []string{"/fetch/https://h/x", "/fetch/https:/h/x"}, nil},
		"empty segments at the end":         {Options{}, "/a//", "", []string{"/a//", "/a/"}, nil},
		"empty segments are merged":         {Options{EmptySegments: MergeEmpty}, "//a///b//", "/a/b/", []string{"/a/b/"}, nil},
		"empty segments are refused":        {Options{EmptySegments: RejectEmpty}, "/a//b", "", nil, ErrEmptySegment},
		"the last segment is empty":         {Options{EmptySegments: RejectEmpty}, "/a/", "", []string{"/a/"}, nil},
		"case":                              {Options{IgnoreCase: true}, "/Admin/É\u212aſ", "/Admin/%C3%89%E2%84%AA%C5%BF", []string{"/admin/éks"}, nil},
		"too many kinds":                    {everything(), `/a;b%3Bc%253Bd%2Fe%252Ff\g%5Ch%255Ci/j;k%2Fl%3Bm%252Fn`, "", nil, ErrTooManyReadings},
		"too long":                          {slash, "/" + strings.Repeat("a", maxAmbiguous) + "%2F", "", nil, ErrTooLong},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := reader(t, tt.options).Read(tt.path)
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("Read(%q): %v; want %v", tt.path, err, tt.wantErr)
			}
			if err != nil {
				return
			}
			if want := cmpOr(tt.wantForward, tt.path); got.Forward != want {
				t.Errorf("the app gets %q; want %q", got.Forward, want)
			}
			slices.Sort(tt.wantReadings)
			if readings := all(&got.Target); !slices.Equal(readings, tt.wantReadings) {
				t.Errorf("readings %q; want %q", readings, tt.wantReadings)
			}
		})
	}
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// TestRoutesOfOptions: the prefix of a route is compared to the path as it was sent, and no other spelling has its options.
func TestRoutesOfOptions(t *testing.T) {
	keep := Options{EncodedSlash: true}
	r := reader(t, Options{}, Route{"/api", Options{}}, Route{"/api/v4/projects", keep})
	tests := map[string]struct {
		path string
		want error
	}{
		"the route":                 {"/api/v4/projects/g%2Fp", nil},
		"another path":              {"/g%2Fp", ErrEncodedSlash},
		"a longer segment":          {"/api/v4/projectsx/g%2Fp", ErrEncodedSlash},
		"the slash ends the prefix": {"/api/v4/projects%2Fp", ErrEncodedSlash},
		"the shorter prefix":        {"/api/v4/g%2Fp", ErrEncodedSlash},
		"an encoded letter":         {"/%61pi/v4/projects/g%2Fp", ErrEncodedSlash},
		"an empty segment":          {"//api/v4/projects/g%2Fp", ErrEncodedSlash},
		"upper case":                {"/API/v4/projects/g%2Fp", ErrEncodedSlash},
		"out of the route":          {"/api/v4/projects/..%2F..%2Fadmin", ErrDotSegment},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := r.Read(tt.path); !errors.Is(err, tt.want) {
				t.Errorf("Read(%q): %v; want %v", tt.path, err, tt.want)
			}
		})
	}
	if _, err := NewReader(Options{}, []Route{{Prefix: "/a%2Fb"}}); err == nil {
		t.Error("an encoded prefix was accepted")
	}
}

// TestRealPaths: what real applications need reaches them unchanged with one option, and is refused without it.
func TestRealPaths(t *testing.T) {
	content, err := os.ReadFile("testdata/real-paths.txt")
	if err != nil {
		t.Fatal(err)
	}
	options := map[string]Options{
		"-": {}, "encodedSlash": {EncodedSlash: true}, "semicolon": {Semicolon: true}, "backslash": {Backslash: true}, "doubleEncoding": {DoubleEncoding: true},
	}
	lines := 0
	for line := range strings.Lines(string(content)) {
		kind, rest, found := strings.Cut(strings.TrimSpace(line), " | ")
		end := strings.LastIndex(rest, " | ")
		if !found || end < 0 || kind[0] == '#' {
			continue
		}
		lines++
		target, option := strings.ReplaceAll(rest[:end], `\u00e9`, "é"), rest[end+3:]
		path, _, _ := strings.Cut(target, "?")
		t.Run(kind, func(t *testing.T) {
			without, err := reader(t, Options{}).Read(path)
			if reason, refused := strings.CutPrefix(option, "! "); refused {
				_, err = reader(t, everything()).Read(path)
				if err == nil || err.Error() != reason {
					t.Errorf("%v; want it refused with %q", err, reason)
				}
				return
			}
			if (err == nil) != (option == "-") {
				t.Errorf("without an option: %v", err)
			}
			with, err := reader(t, options[option]).Read(path)
			if err != nil || !equivalent(with.Forward, path) {
				t.Errorf("with %s the app gets %q, %v", option, with.Forward, err)
			}
			if err == nil && option == "-" && without.Forward != with.Forward {
				t.Errorf("the app gets %q", without.Forward)
			}
		})
	}
	if lines != 44 {
		t.Errorf("%d lines; want 44", lines)
	}
}

// equivalent reports whether two paths differ only in what RFC 3986 §6.2.2 makes equal: the case of escapes, escapes of unreserved
// characters, and escapes of characters that no path may have unencoded.
func equivalent(a, b string) bool {
	for a != "" && b != "" {
		x, xWidth, errA := next(a)
		y, yWidth, errB := next(b)
		free := isUnreserved(x) || !isPathChar(x) && x != '/' && x != ';'
		if errA != nil || errB != nil || x != y || xWidth != yWidth && !free {
			return false
		}
		a, b = a[xWidth:], b[yWidth:]
	}
	return a == b
}
