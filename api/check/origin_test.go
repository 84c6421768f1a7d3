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
