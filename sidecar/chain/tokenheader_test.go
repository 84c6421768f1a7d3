package chain

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/api/compiled"
)

// TestTokenInProxyHeader sends tokens in headers that gateways use for them. No proxy is trusted, so that other headers of proxies
// are removed.
func TestTokenInProxyHeader(t *testing.T) {
	i := newIssuer(t)
	token := i.token(t, "ada")
	headers := []string{
		"Cf-Access-Jwt-Assertion", "X-Forwarded-Access-Token", "X-Forwarded-Jwt", "X-Azure-Token", "X-Envoy-Jwt", "X-Remote-Token",
		"X-Ssl-Token", "X-Amzn-Oidc-Data", "X-Goog-Iap-Jwt-Assertion",
	}
	for _, forward := range []bool{false, true} {
		for _, header := range headers {
			for _, trusted := range [][]string{nil, {"127.0.0.1/32"}} {
				p := policy(i)
				p.Sidecar.TrustedProxies = trusted
				p.Providers[0].From = []compiled.TokenLocation{{Header: header}}
				p.Providers[0].ForwardToken = forward
				if problems := check.Document(p); len(problems) > 0 {
					t.Fatalf("%s: %v", header, problems)
				}
				addr := door(t, p, echo)
				t.Run(fmt.Sprintf("%s forward=%v trusted=%v", header, forward, trusted), func(t *testing.T) {
					tokenHeaderCases(t, addr, header, token, forward)
				})
			}
		}
	}
}

func tokenHeaderCases(t *testing.T, addr, header, token string, forward bool) {
	tests := map[string]struct {
		path, line string
		wantStatus int
		wantUser   bool
		wantKept   bool
	}{
		"a token":               {path: "/orders", line: header + ": " + token, wantStatus: 200, wantUser: true, wantKept: forward},
		"in lower case":         {path: "/orders", line: strings.ToLower(header) + ": " + token, wantStatus: 200, wantUser: true, wantKept: forward},
		"with underscores":      {path: "/orders", line: strings.ReplaceAll(header, "-", "_") + ": " + token, wantStatus: 401},
		"anonymous, bad token":  {path: "/public/x", line: header + ": bad", wantStatus: 200},
		"anonymous, underscore": {path: "/public/x", line: strings.ReplaceAll(header, "-", "_") + ": " + token, wantStatus: 200},
		"anonymous, empty":      {path: "/public/x", line: header + ":", wantStatus: 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := rawTo(t, addr, "GET "+tt.path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+tt.line+"\r\n\r\n")
			if got.StatusCode != tt.wantStatus {
				t.Fatalf("status %d; want %d", got.StatusCode, tt.wantStatus)
			}
			if tt.wantStatus != http.StatusOK {
				return
			}
			var seen struct{ Header http.Header }
			if err := json.NewDecoder(got.Body).Decode(&seen); err != nil {
				t.Fatal(err)
			}
			if user := seen.Header.Get("X-Auth-Subject") == "ada"; user != tt.wantUser {
				t.Errorf("the app knows the caller: %v; want %v", user, tt.wantUser)
			}
			kept := false
			for name := range seen.Header {
				kept = kept || strings.EqualFold(strings.ReplaceAll(name, "_", "-"), header)
			}
			if kept != tt.wantKept {
				t.Errorf("the app sees %v; want the token: %v", seen.Header, tt.wantKept)
			}
		})
	}
}

// TestPrefixedTokenInProxyHeader: a value without the prefix is no token, and no client may say it to the app in a proxy's name.
func TestPrefixedTokenInProxyHeader(t *testing.T) {
	i := newIssuer(t)
	p := policy(i)
	p.Providers[0].From = []compiled.TokenLocation{{Header: "X-Forwarded-User", Prefix: "Bearer "}}
	p.Providers[0].ForwardToken = true
	for _, mode := range []compiled.Mode{compiled.Enforce, compiled.Shadow} {
		p.Mode = mode
		line := "X-Forwarded-User: root\r\n"
		if mode == compiled.Shadow {
			line += line
		}
		got := rawTo(t, door(t, p, echo), "GET /public/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+line+"\r\n")
		var seen struct{ Header http.Header }
		if err := json.NewDecoder(got.Body).Decode(&seen); err != nil {
			t.Fatal(err)
		}
		if seen.Header["X-Forwarded-User"] != nil {
			t.Errorf("%s: the app sees X-Forwarded-User %q", mode, seen.Header["X-Forwarded-User"])
		}
	}
}

// TestBadTokenInProxyHeaderInShadow: shadow mode leaves a bad token to the app, but not in the name of a proxy that the peer is not.
func TestBadTokenInProxyHeaderInShadow(t *testing.T) {
	i := newIssuer(t)
	p := policy(i)
	p.Mode = compiled.Shadow
	tests := map[string]struct {
		header, value string
		trusted       []string
		wantKept      bool
	}{
		"of an unknown peer":        {header: "X-Forwarded-Access-Token", value: "forged"},
		"of a trusted proxy":        {header: "X-Forwarded-Access-Token", value: "opaque", trusted: []string{"127.0.0.1/32"}, wantKept: true},
		"valid":                     {header: "X-Forwarded-Access-Token", value: i.token(t, "ada"), wantKept: true},
		"in a header of no proxies": {header: "X-Token", value: "forged", wantKept: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p.Sidecar.TrustedProxies = tt.trusted
			p.Providers[0].From = []compiled.TokenLocation{{Header: tt.header}}
			got := rawTo(t, door(t, p, echo), "GET /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+tt.header+": "+tt.value+"\r\n\r\n")
			var seen struct{ Header http.Header }
			if err := json.NewDecoder(got.Body).Decode(&seen); err != nil {
				t.Fatal(err)
			}
			if kept := seen.Header[tt.header] != nil; kept != tt.wantKept {
				t.Errorf("the app sees %s: %v; want %v", tt.header, kept, tt.wantKept)
			}
		})
	}
}

// TestDeletedPolicyKeepsNoTokenHeader: nothing verifies tokens any more, so the headers are those of an unknown peer again.
func TestDeletedPolicyKeepsNoTokenHeader(t *testing.T) {
	i := newIssuer(t)
	p := policy(i)
	p.Providers[0].From = []compiled.TokenLocation{{Header: "X-Forwarded-Access-Token"}}
	p.Deleted = true
	addr := door(t, p, echo)
	got := rawTo(t, addr, "GET /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Forwarded-Access-Token: "+i.token(t, "ada")+"\r\n\r\n")
	var seen struct{ Header http.Header }
	if err := json.NewDecoder(got.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	if got.StatusCode != http.StatusOK || seen.Header["X-Forwarded-Access-Token"] != nil {
		t.Errorf("%d %v", got.StatusCode, seen.Header)
	}
}
