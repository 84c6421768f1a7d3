package check

import (
	"strings"
	"testing"
)

func TestOrigin(t *testing.T) {
	tests := map[string]struct{ origin, want string }{
		"as sent":               {origin: "https://app.example.com", want: "https://app.example.com"},
		"capitals":              {origin: "HTTPS://App.Example.COM", want: "https://app.example.com"},
		"port":                  {origin: "http://localhost:3000", want: "http://localhost:3000"},
		"default port of https": {origin: "https://a.example:443", want: "https://a.example"},
		"default port of http":  {origin: "http://a.example:80", want: "http://a.example"},
		"port 443 with http":    {origin: "http://a.example:443", want: "http://a.example:443"},
		"IPv6":                  {origin: "http://[::1]:8080", want: "http://[::1]:8080"},
		"another scheme":        {origin: "capacitor://localhost", want: "capacitor://localhost"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got, err := Origin(tt.origin); err != nil || got != tt.want {
				t.Errorf("Origin(%q) = %q, %v; want %q", tt.origin, got, err, tt.want)
			}
		})
	}
}

func FuzzOrigin(f *testing.F) {
	for _, seed := range []string{"https://a.example", "http://[::1]:80", "null", "https://*.a", "https://a/b", "a:b@c", "https://a:443"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		origin, err := Origin(s)
		if err != nil {
			return
		}
		if origin == "null" || strings.ContainsAny(origin, "*?#@, \t\r\n") || strings.Count(origin, "/") != 2 {
			t.Fatalf("Origin(%q) = %q", s, origin)
		}
		if again, err := Origin(origin); err != nil || again != origin {
			t.Fatalf("Origin(%q) = %q, %v", origin, again, err)
		}
	})
}

func TestOriginPattern(t *testing.T) {
	tests := map[string]struct {
		pattern  string
		has, not []string
	}{
		"exact": {pattern: "https://a.example:443", has: []string{"https://a.example"}, not: []string{"https://a.example:443", "http://a.example", "https://b.a.example", ""}},
		"one label": {pattern: "https://*.preview.example.com", has: []string{"https://pr-7.preview.example.com", "https://a_b.preview.example.com"},
			not: []string{"https://preview.example.com", "https://.preview.example.com", "https://a.b.preview.example.com", "https://apreview.example.com",
				"https://a.preview.example.com.evil.example", "https://a.preview.example.com:8443", "http://a.preview.example.com", "https://evil.example/.preview.example.com",
				"https://evil.example#.preview.example.com", "https://u@preview.example.com", "https://u:p@a.preview.example.com", "https://*.preview.example.com", "null", ""}},
		"one label, default port": {pattern: "https://*.Example.com:443", has: []string{"https://a.example.com"}, not: []string{"https://a.example.com:443"}},
		"one label, a port":       {pattern: "https://*.example.com:8443", has: []string{"https://a.example.com:8443"}, not: []string{"https://a.example.com", "https://a.example.com:84430"}},
		"any port": {pattern: "http://localhost:*", has: []string{"http://localhost", "http://localhost:1", "http://localhost:65535"},
			not: []string{"http://localhost:", "http://localhost:0", "http://localhost:65536", "http://localhost:80@evil.example", "http://localhost.evil.example", "http://localhost:80.evil.example", "https://localhost:80"}},
		"any port, IPv6": {pattern: "http://[::1]:*", has: []string{"http://[::1]:3000", "http://[::1]"}, not: []string{"http://[::1]3000", "http://[::2]:3000"}},
		"both":           {pattern: "http://*.dev.test:*", has: []string{"http://a.dev.test", "http://a.dev.test:8080"}, not: []string{"http://a.b.dev.test:8080", "http://dev.test:8080"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, err := ParseOriginPattern(tt.pattern)
			if err != nil {
				t.Fatal(err)
			}
			for _, origin := range tt.has {
				if !p.Has(origin) {
					t.Errorf("%s does not have %q", tt.pattern, origin)
				}
			}
			for _, origin := range tt.not {
				if p.Has(origin) {
					t.Errorf("%s has %q", tt.pattern, origin)
				}
			}
		})
	}
	for _, s := range []string{"", "*", "https://*", "https://*.com", "https://*.com.", "https://*..com", "*://a.example", "https://a.*", "https://*.*.example.com", "https://*a.example.com",
		"https://*.1.2.3", "https://*.[::1]", "https://a.example:*8", "https://a.example:8*", "https://*.example.com/", "http*://a.example", "https://*:*", "https://*.:*"} {
		if p, err := ParseOriginPattern(s); err == nil {
			t.Errorf("ParseOriginPattern(%q) = %+v", s, p)
		}
	}
}

func FuzzOriginPattern(f *testing.F) {
	for _, seed := range []string{"https://*.a.example", "http://[::1]:*", "http://*.a.b:*", "https://a"} {
		f.Add(seed, "https://b.a.example")
	}
	f.Fuzz(func(t *testing.T, pattern, origin string) {
		p, err := ParseOriginPattern(pattern)
		if err != nil || !p.Has(origin) {
			return
		}
		if normal, err := Origin(origin); err != nil || !strings.HasPrefix(origin, normal) {
			t.Fatalf("%q has %q, which is not an origin: %q, %v", pattern, origin, normal, err)
		}
	})
}
