package route

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// normalize is Read without options. It returns the decoded path and the path to forward.
func normalize(escaped string) (decoded, forward string, err error) {
	p, err := (&Reader{}).Read(escaped)
	return p.Decoded, p.Forward, err
}

func TestNormalize(t *testing.T) {
	tests := map[string]struct {
		path        string
		wantDecoded string
		wantForward string
		wantErr     error
	}{
		"root":                               {path: "/", wantDecoded: "/", wantForward: "/"},
		"clean":                              {path: "/a/b.c/~d", wantDecoded: "/a/b.c/~d", wantForward: "/a/b.c/~d"},
		"trailing slash is kept":             {path: "/a/", wantDecoded: "/a/", wantForward: "/a/"},
		"sub-delimiters stay":                {path: "/a!$&'()*+,=:@b", wantDecoded: "/a!$&'()*+,=:@b", wantForward: "/a!$&'()*+,=:@b"},
		"unreserved escapes are decoded":     {path: "/%61dm%69n%7e", wantDecoded: "/admin~", wantForward: "/admin~"},
		"reserved escapes stay, in capitals": {path: "/a%2bb%3a", wantDecoded: "/a+b:", wantForward: "/a%2Bb%3A"},
		"a question mark":                    {path: "/a%3fb", wantDecoded: "/a?b", wantForward: "/a%3Fb"},
		"an encoded fragment sign":           {path: "/a%23b", wantDecoded: "/a#b", wantForward: "/a%23b"},
		"a space":                            {path: "/a%20b", wantDecoded: "/a b", wantForward: "/a%20b"},
		"UTF-8":                              {path: "/%c3%a9", wantDecoded: "/é", wantForward: "/%C3%A9"},
		"raw UTF-8 is encoded":               {path: "/é", wantDecoded: "/é", wantForward: "/%C3%A9"},
		"bytes not allowed in a path":        {path: `/a"<b`, wantDecoded: `/a"<b`, wantForward: "/a%22%3Cb"},
		"an encoded percent sign":            {path: "/100%25", wantDecoded: "/100%", wantForward: "/100%25"},
		"a harmless second escape":           {path: "/a%2541", wantDecoded: "/a%41", wantForward: "/a%2541"},
		"empty segments":                     {path: "//a///b//", wantDecoded: "//a///b//", wantForward: "//a///b//"},
		"only slashes":                       {path: "///", wantDecoded: "///", wantForward: "///"},
		"dots within a segment":              {path: "/.../a..b/.c", wantDecoded: "/.../a..b/.c", wantForward: "/.../a..b/.c"},
		"empty":                              {path: "", wantErr: ErrNotAbsolute},
		"the asterisk form":                  {path: "*", wantErr: ErrNotAbsolute},
		"relative":                           {path: "a/b", wantErr: ErrNotAbsolute},
		"an encoded first slash":             {path: "%2fa", wantErr: ErrNotAbsolute},
		"encoded slash":                      {path: "/a%2fb", wantErr: ErrEncodedSlash},
		"encoded slash in capitals":          {path: "/a%2Fb", wantErr: ErrEncodedSlash},
		"raw backslash":                      {path: `/a\b`, wantErr: ErrBackslash},
		"encoded backslash":                  {path: "/a%5cb", wantErr: ErrBackslash},
		"NUL":                                {path: "/a%00", wantErr: ErrControl},
		"raw control character":              {path: "/a\tb", wantErr: ErrControl},
		"encoded newline":                    {path: "/a%0ab", wantErr: ErrControl},
		"DEL":                                {path: "/a%7f", wantErr: ErrControl},
		"C1 control":                         {path: "/a%C2%85", wantErr: ErrControl},
		"truncated escape":                   {path: "/a%2", wantErr: ErrBadEscape},
		"escape without digits":              {path: "/a%", wantErr: ErrBadEscape},
		"escape with a wrong digit":          {path: "/a%2g", wantErr: ErrBadEscape},
		"IIS's %u escape":                    {path: "/%u002e", wantErr: ErrBadEscape},
		"invalid UTF-8":                      {path: "/a%ff", wantErr: ErrBadUTF8},
		"overlong slash":                     {path: "/a%c0%af", wantErr: ErrBadUTF8},
		"dot segment":                        {path: "/a/./b", wantErr: ErrDotSegment},
		"dot-dot segment":                    {path: "/a/../b", wantErr: ErrDotSegment},
		"dot-dot at the end":                 {path: "/a/..", wantErr: ErrDotSegment},
		"dot at the end":                     {path: "/.", wantErr: ErrDotSegment},
		"encoded dots":                       {path: "/a/%2e%2E/b", wantErr: ErrDotSegment},
		"half-encoded dots":                  {path: "/a/.%2e", wantErr: ErrDotSegment},
		"dots after an empty segment":        {path: "/a//..//b", wantErr: ErrDotSegment},
		"encoded twice: slash":               {path: "/a%252fb", wantErr: ErrDoubleEncoding},
		"encoded twice: dot":                 {path: "/%252e%252e/b", wantErr: ErrDoubleEncoding},
		"encoded twice: backslash":           {path: "/a%255Cb", wantErr: ErrDoubleEncoding},
		"encoded twice: NUL":                 {path: "/a%2500", wantErr: ErrDoubleEncoding},
		"encoded twice: semicolon":           {path: "/a%253bx", wantErr: ErrDoubleEncoding},
		"encoded three times":                {path: "/a%25252f", wantErr: ErrDoubleEncoding},
		"encoded twice, by two escapes":      {path: "/a%25%32%66", wantErr: ErrDoubleEncoding},
		"path parameter":                     {path: "/admin;x", wantErr: ErrPathParameter},
		"path parameter on a dot segment":    {path: "/a/..;/b", wantErr: ErrPathParameter},
		"encoded path parameter":             {path: "/admin%3bx", wantErr: ErrPathParameter},
		"fragment":                           {path: "/a#b", wantErr: ErrFragment},
		"a fullwidth slash is not a slash":   {path: "/%EF%BC%8F", wantDecoded: "/／", wantForward: "/%EF%BC%8F"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			decoded, forward, err := normalize(tt.path)
			if !errors.Is(err, tt.wantErr) {
				t.Fatalf("Normalize(%q): %v; want %v", tt.path, err, tt.wantErr)
			}
			if decoded != tt.wantDecoded || forward != tt.wantForward {
				t.Errorf("Normalize(%q) = %q, %q; want %q, %q", tt.path, decoded, forward, tt.wantDecoded, tt.wantForward)
			}
		})
	}
}

func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"/", "/a/b", "//a", "/%61", "/a%2fb", "/../a", "/%252e", "/a;b", "/é", "*", "/%C2%85", "/a!b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		decoded, forward, err := normalize(path)
		if err != nil {
			return
		}
		checkSafe(t, decoded)
		again, fixed, err := normalize(forward)
		if err != nil || again != decoded || fixed != forward {
			t.Fatalf("Normalize(%q) = %q, %q, %v; not the same as %q, %q before", forward, again, fixed, err, decoded, forward)
		}
		u := url.URL{Path: decoded, RawPath: forward}
		if u.EscapedPath() != forward {
			t.Fatalf("net/url sends %q for %q", u.EscapedPath(), forward)
		}
		if plain, err := url.PathUnescape(path); err != nil || plain != decoded {
			t.Fatalf("%q decodes to %q, %v; not to %q", path, plain, err, decoded)
		}
	})
}

func checkSafe(t *testing.T, decoded string) {
	t.Helper()
	if !strings.HasPrefix(decoded, "/") || strings.ContainsAny(decoded, "\\;\x00") {
		t.Fatalf("%q was accepted", decoded)
	}
	if !utf8.ValidString(decoded) || strings.ContainsFunc(decoded, unicode.IsControl) {
		t.Fatalf("%q was accepted", decoded)
	}
	for segment := range strings.SplitSeq(decoded, "/") {
		if isDots(segment) {
			t.Fatalf("the dot segment in %q was accepted", decoded)
		}
	}
	if twice, err := url.PathUnescape(decoded); err == nil && strings.Count(twice, "/") != strings.Count(decoded, "/") {
		t.Fatalf("%q is another path when decoded again: %q", decoded, twice)
	}
}

func BenchmarkNormalize(b *testing.B) {
	r := reader(b, Options{})
	for name, path := range map[string]string{"clean": "/api/v1/orders/1234/items", "escaped": "/api/%C3%A9/a%20b"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Read(path); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
