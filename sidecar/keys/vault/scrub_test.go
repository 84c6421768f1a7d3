package vault

import (
	"strings"
	"testing"
)

func TestScrub(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"service token": {"token hvs.CAESIabcdefghijk is bad", "token [redacted] is bad"},
		"quoted":        {`"hvb.AAAAAQabcdefghi"`, `"[redacted]"`},
		"old token":     {"s.abcdefghijklmnopqrstuvwx", "[redacted]"},
		"JWT":           {"jwt=eyJhbGciOiJ.eyJpc3M.sig-1", "jwt=[redacted]"},
		"userinfo":      {`Get "https://u:p@host/v1": x, //a@b`, `Get "https://[redacted]@host/v1": x, //[redacted]@b`},
		"known":         {"the id my-id", "the id [redacted]"},
		"control":       {"a\nb\x1b[31m", "a b [31m"},
		"plain":         {"service account name not authorized", "service account name not authorized"},
		"words":         {"s.x b.y eyJ é", "s.x b.y eyJ é"},
		"long":          {strings.Repeat("é", 200), strings.Repeat("é", 100) + " …"},
		"empty":         {"", ""},
	}
	for name, tt := range tests {
		if got := scrub(tt.text, []string{"", "my-id"}); got != tt.want {
			t.Errorf("%s: %q; want %q", name, got, tt.want)
		}
	}
}

func FuzzScrub(f *testing.F) {
	f.Add("https://a:b@c hvs.abcdefghijkl eyJhbGciOiJFUzI1NiJ9")
	f.Fuzz(func(t *testing.T, text string) {
		got := scrub(text, []string{"known-credential"})
		if len(got) > maxDetail+len(" …") || strings.Contains(got, "known-credential") || strings.ContainsAny(got, "\r\n\x00") {
			t.Errorf("%q gives %q", text, got)
		}
	})
}
