package check

import (
	"strings"
	"testing"
)

func TestPattern(t *testing.T) {
	tests := map[string]struct {
		pattern string
		want    []string
		wantNot []string
	}{
		"root":          {pattern: "/", want: []string{"/"}, wantNot: []string{"/a", "*", ""}},
		"exact":         {pattern: "/a/b", want: []string{"/a/b", "/a/b/"}, wantNot: []string{"/a", "/a/b/c", "/a/bc", "/A/b", "/"}},
		"one segment":   {pattern: "/a/*", want: []string{"/a/b", "/a/b/", "/a/*"}, wantNot: []string{"/a", "/a/", "/a/b/c"}},
		"in the middle": {pattern: "/a/*/c", want: []string{"/a/b/c"}, wantNot: []string{"/a/c", "/a/b/d", "/a/b/b/c"}},
		"the rest":      {pattern: "/a/**", want: []string{"/a", "/a/", "/a/b", "/a/b/c/"}, wantNot: []string{"/", "/ab", "/b/a"}},
		"every path":    {pattern: "/**", want: []string{"/", "/a", "/a/b"}, wantNot: []string{"*", ""}},
		"both":          {pattern: "/*/x/**", want: []string{"/a/x", "/a/x/y"}, wantNot: []string{"/x", "/a/y/x"}},
		"decoded":       {pattern: "/é 100%", want: []string{"/é 100%"}, wantNot: []string{"/e 100%"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := ParsePattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range tt.want {
				if !p.Match(path) {
					t.Errorf("%q does not match %q", tt.pattern, path)
				}
			}
			for _, path := range tt.wantNot {
				if p.Match(path) {
					t.Errorf("%q matches %q", tt.pattern, path)
				}
			}
		})
	}
}

func TestParsePatternRefuses(t *testing.T) {
	tests := map[string]struct {
		pattern string
		wantErr string
	}{
		"empty":             {pattern: "", wantErr: "write /**"},
		"relative":          {pattern: "a", wantErr: "begin with /"},
		"asterisk form":     {pattern: "*", wantErr: "begin with /"},
		"too long":          {pattern: "/" + strings.Repeat("a", maxPatternLen), wantErr: "longer than"},
		"invalid UTF-8":     {pattern: "/\xff", wantErr: "UTF-8"},
		"control character": {pattern: "/a\n", wantErr: "control character"},
		"empty segment":     {pattern: "/a//b", wantErr: "empty segment"},
		"trailing slash":    {pattern: "/a/", wantErr: `write "/a"`},
		"** in the middle":  {pattern: "/**/a", wantErr: "last segment"},
		"part of a segment": {pattern: "/a*", wantErr: "whole segment"},
		"*** segment":       {pattern: "/***", wantErr: "whole segment"},
		"dot segment":       {pattern: "/a/../b", wantErr: ". or .. segments"},
		"query":             {pattern: "/a?b=c", wantErr: "without query"},
		"fragment":          {pattern: "/a#b", wantErr: "without query or fragment"},
		"semicolon":         {pattern: "/a;b", wantErr: "refused"},
		"backslash":         {pattern: `/a\b`, wantErr: "refused"},
		"encoded":           {pattern: "/a%20b", wantErr: "write it decoded"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParsePattern(tt.pattern)
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("ParsePattern(%q): %v; want %q", tt.pattern, err, tt.wantErr)
			}
		})
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, seed := range []string{"/", "/a/*", "/a/**", "/*/b", "a", "/a/", "/%41", "/**/a", "/é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		// A * segment also matches the segment "*", so a pattern without ** matches itself as a path.
		path := strings.TrimSuffix(s, "/**")
		if path == "" {
			path = "/"
		}
		if !p.Match(path) || !p.Match(strings.TrimSuffix(path, "/")+"/") {
			t.Fatalf("the pattern %q is accepted and does not match the path %q", s, path)
		}
	})
}
