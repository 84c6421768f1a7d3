package chain

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestOnlyLoginsClear: a response that is no login neither clears the failures of an account nor marks a device: the page of the login, the
// response to a preflight, early hints, and a connection that breaks off.
func TestOnlyLoginsClear(t *testing.T) {
	t.Parallel()
	const body = `{"email":"ada@example.com","password":"guess"}`
	json := http.Header{"Content-Type": {"application/json"}}
	tests := map[string]struct {
		send sent
		// account is where the route has the account.
		account compiled.RequestField
	}{
		"the page, with a body":      {send: sent{method: "GET", path: "/login", body: body, header: json}},
		"the page, HEAD":             {send: sent{method: "HEAD", path: "/login", body: body, header: json}},
		"the page, with a header":    {send: sent{method: "GET", path: "/login", header: http.Header{"X-User": {"ada@example.com"}}}, account: compiled.RequestField{Header: "X-User"}},
		"a preflight":                {send: sent{method: "OPTIONS", path: "/login", header: http.Header{"X-User": {"ada@example.com"}}}, account: compiled.RequestField{Header: "X-User"}},
		"DELETE":                     {send: sent{method: "DELETE", path: "/login", header: http.Header{"X-User": {"ada@example.com"}}}, account: compiled.RequestField{Header: "X-User"}},
		"early hints":                {send: sent{method: "POST", path: "/login", body: strings.Replace(body, "guess", "hints", 1), header: json}},
		"a connection that is reset": {send: sent{method: "POST", path: "/login", body: strings.Replace(body, "guess", "broken", 1), header: json}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var guesses atomic.Int64
			l := loginsBefore(t, func(w http.ResponseWriter, r *http.Request) {
				text, _ := io.ReadAll(r.Body)
				switch {
				case r.Method != http.MethodPost:
					return // 200
				case strings.Contains(string(text), "hints"):
					w.WriteHeader(http.StatusEarlyHints)
					w.WriteHeader(http.StatusUnauthorized)
					return
				case strings.Contains(string(text), "broken"):
					conn, _, err := http.NewResponseController(w).Hijack()
					if err == nil {
						_ = conn.Close()
					}
					return
				}
				guesses.Add(1)
				w.WriteHeader(http.StatusUnauthorized)
			}, func(p *compiled.LoginProtection) {
				p.Routes[0].Match[0].Methods = nil
				if tt.account != (compiled.RequestField{}) {
					p.Routes[0].Account = tt.account
				}
			})
			for i := range 30 {
				addr := fmt.Sprintf("203.0.113.%d", i)
				r := tt.send
				r.header = r.header.Clone()
				r.header.Set("X-Forwarded-For", addr)
				if g := l.replicas[0].send(r); len(g.cookies) > 0 {
					t.Fatalf("it marks a device: %v", g.cookies)
				}
				guess := sent{method: "POST", path: "/login", body: body, header: http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": {addr}, "X-User": {"ada@example.com"}}}
				l.replicas[0].send(guess)
			}
			if n := guesses.Load(); n > 5 {
				t.Errorf("%d guesses reached the app; want at most 5", n)
			}
		})
	}
}
