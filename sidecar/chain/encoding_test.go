package chain

import (
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestSubjectsInAnyScript logs in subjects as apps write them. The token has the text, and the app gets back the bytes that it wrote.
func TestSubjectsInAnyScript(t *testing.T) {
	w := newWorld(t)
	started := map[string]*sidecar{}
	for _, encoding := range []string{"", "UTF8", "Latin1", "Percent"} {
		started[encoding] = w.sidecar(loginPolicy(func(p *compiled.Policy) { p.Tokens.FieldEncoding = encoding })).ready()
	}
	tests := map[string]struct {
		encoding, written string
		// want is the token's subject; empty if the login is refused.
		want string
	}{
		"UTF-8 by default":             {"", "José 東京", "José 東京"},
		"UTF-8":                        {"UTF8", "Ω-дом", "Ω-дом"},
		"UTF-8, a percent sign":        {"UTF8", "%C3%A9", "%C3%A9"},
		"UTF-8, bytes of Latin-1":      {"UTF8", "Jos\xe9", ""},
		"UTF-8, a control character":   {"UTF8", "a\xc2\x85b", ""},
		"Latin-1":                      {"Latin1", "Jos\xe9", "José"},
		"Latin-1, like UTF-8":          {"Latin1", "Jos\xc3\xa9", ""},
		"Latin-1, a control character": {"Latin1", "Jos\x85", ""},
		"Latin-1, ASCII":               {"Latin1", "user-42", "user-42"},
		"percent":                      {"Percent", "Jos%C3%A9%20%E6%9D%B1", "José 東"},
		"percent, ASCII":               {"Percent", "user-42", "user-42"},
		"percent, a plus":              {"Percent", "a%2Bb", "a+b"},
		"percent, bytes of Latin-1":    {"Percent", "Jos%E9", ""},
		"percent, a line break":        {"Percent", "a%0Ab", ""},
		"percent, not encoded":         {"Percent", "José", ""},
		"percent, cut short":           {"Percent", "a%C3%A", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := started[tt.encoding]
			g := s.send(sent{method: "POST", path: "/login?as=" + url.QueryEscape(tt.written)})
			if tt.want == "" {
				if g.status != http.StatusBadGateway || g.code() != "login-response-invalid" {
					t.Errorf("%d %s", g.status, g.text)
				}
				return
			}
			access := g.field("access_token")
			if g.status != http.StatusOK || claim(t, access, "sub") != tt.want {
				t.Fatalf("%d %s, subject %q; want %q", g.status, g.text, claim(t, access, "sub"), tt.want)
			}
			if used := s.use(tokens{access: access}); used.field("caller") != strconv.QuoteToASCII(tt.written) {
				t.Errorf("the app gets %s; want the bytes %q", used.field("caller"), tt.written)
			}
		})
	}
}

// TestClaimsInAnyScript: the claims of a login have the encoding of its subject.
func TestClaimsInAnyScript(t *testing.T) {
	w := newWorld(t)
	for encoding, written := range map[string]string{
		"UTF8": `{"roles":"é"}`, "Latin1": "{\"roles\":\"\xe9\"}", "Percent": url.PathEscape(`{"roles":"é"}`),
	} {
		s := w.sidecar(loginPolicy(func(p *compiled.Policy) { p.Tokens.FieldEncoding = encoding })).ready()
		g := s.send(sent{method: "POST", path: "/login?as=ada&claims=" + url.QueryEscape(written)})
		if got := claim(t, g.field("access_token"), "roles"); g.status != http.StatusOK || got != "é" {
			t.Errorf("%s: %d, roles %q", encoding, g.status, got)
		}
	}
}
