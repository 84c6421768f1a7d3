package route

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// backends are ways in which apps read the path that they receive. Each returns the segments with the slashes that are part of one
// written as %2F, and false if the app refuses the path.
var backends = map[string]func(path string) (string, bool){
	"decodes, then splits (WSGI, PHP)": unescape,
	"splits, then decodes (Rails, Go 1.22, Express)": func(path string) (string, bool) {
		return perSegment(path, "/", func(s string) string { return s })
	},
	"removes raw parameters, splits, decodes (Jetty)": func(path string) (string, bool) {
		return perSegment(path, "/", beforeSemicolon)
	},
	"removes raw parameters, decodes, splits (Tomcat with DECODE)": func(path string) (string, bool) {
		return unescape(segments(path, beforeSemicolon))
	},
	"decodes, then removes parameters (CVE-2020-13933)": func(path string) (string, bool) {
		s, ok := unescape(path)
		return segments(s, beforeSemicolon), ok
	},
	"removes raw parameters, decodes, removes parameters again (Tomcat with DECODE, then the app)": func(path string) (string, bool) {
		s, ok := unescape(segments(path, beforeSemicolon))
		return segments(s, beforeSemicolon), ok
	},
	"splits, decodes, removes parameters": func(path string) (string, bool) {
		ok := true
		return segments(path, func(s string) string {
			plain, err := url.PathUnescape(s)
			ok = ok && err == nil
			return strings.ReplaceAll(beforeSemicolon(plain), "/", "%2F")
		}), ok
	},
	"removes raw parameters, decodes, reads up to a semicolon (Struts 2 in Tomcat)": func(path string) (string, bool) {
		s, ok := unescape(segments(path, beforeSemicolon))
		return beforeSemicolon(s), ok
	},
	"decodes, removes parameters, decodes again (Tomcat behind a proxy that decodes twice)": func(path string) (string, bool) {
		s, ok := unescape(path)
		twice, err := url.PathUnescape(segments(s, beforeSemicolon))
		return twice, ok && err == nil
	},
	"reads a backslash as a slash (IIS)": func(path string) (string, bool) {
		s, ok := unescape(path)
		return strings.ReplaceAll(s, `\`, "/"), ok
	},
	"resolves it as a reference, so that //a/b has the host a (URL in Node, Java, Python)": func(path string) (string, bool) {
		rest, ok := strings.CutPrefix(path, "//")
		if !ok {
			return unescape(path)
		}
		_, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		return unescape("/" + rest)
	},
	"decodes twice": func(path string) (string, bool) {
		s, ok := unescape(path)
		twice, err := url.PathUnescape(s)
		return twice, ok && err == nil
	},
}

func unescape(path string) (string, bool) {
	s, err := url.PathUnescape(path)
	return s, err == nil
}

func segments(path string, edit func(string) string) string {
	out := strings.Split(path, "/")
	for i := range out {
		out[i] = edit(out[i])
	}
	return strings.Join(out, "/")
}

func perSegment(path, separator string, edit func(string) string) (string, bool) {
	ok := true
	return segments(path, func(s string) string {
		plain, err := url.PathUnescape(edit(s))
		ok = ok && err == nil
		return strings.ReplaceAll(plain, separator, "%2F")
	}), ok
}

func beforeSemicolon(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return s
}

// FuzzOptions: whatever an option lets through, the path that each kind of app serves for it is one of the readings that rules
// match, also without its empty segments, and no reading has a dot segment or a control character.
func FuzzOptions(f *testing.F) {
	for _, seed := range []string{"/a%2Fb", "/a;x/b%2Fc", `/a\b`, "/a%5c..", "/q/50%252F50", "/%2561", "//a//", "/a/..;/b", "/;/admin", "/a%253b%3b;c", "/a%2F;%5C%2e", "/a;q%2Fx/b%3Bz%2Fc", "/admin%3B/x", "/a;x%2Fb;y%252Fc", "/a%3Bx%2Fb%3By%252Fc"} {
		for _, bits := range []byte{0, 15, 31} {
			f.Add(seed, bits)
		}
	}
	f.Fuzz(func(t *testing.T, path string, bits byte) {
		o := Options{EncodedSlash: bits&1 > 0, Semicolon: bits&2 > 0, Backslash: bits&4 > 0, DoubleEncoding: bits&8 > 0}
		o.EmptySegments = []EmptySegments{KeepEmpty, MergeEmpty, RejectEmpty, ""}[bits>>4&3]
		r := reader(t, o)
		got, err := r.Read(path)
		if err != nil {
			return
		}
		readings := all(&got.Target)
		for _, s := range readings {
			if strings.ContainsFunc(s, unicode.IsControl) || slices.ContainsFunc(strings.Split(s, "/"), isDots) || s[0] != '/' {
				t.Fatalf("%q was accepted with the reading %q", path, s)
			}
		}
		for name, read := range backends {
			served, ok := read(got.Forward)
			if !ok || strings.Contains(name, "twice") && !o.DoubleEncoding {
				continue
			}
			for _, s := range []string{served, merged(served)} {
				if !slices.Contains(readings, s) {
					t.Fatalf("an app that %s serves %q for %q; the readings are %q", name, s, got.Forward, readings)
				}
			}
		}
		again, err := r.Read(got.Forward)
		if err != nil || again.Forward != got.Forward || !slices.Equal(all(&again.Target), readings) {
			t.Fatalf("%q becomes %q, and that %q, %v", path, got.Forward, again.Forward, err)
		}
		u := url.URL{Path: got.Decoded, RawPath: got.Forward}
		if u.EscapedPath() != got.Forward {
			t.Fatalf("net/url sends %q for %q", u.EscapedPath(), got.Forward)
		}
	})
}
