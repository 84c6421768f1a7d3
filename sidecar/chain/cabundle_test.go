package chain

import (
	"crypto/sha1" //nolint:gosec // the format of the list
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// TestCABundles: a list of breached passwords, for new passwords and at a login, and a challenge are asked for over TLS, from a server whose
// certificate the section's CA bundle verifies, and from no other.
func TestCABundles(t *testing.T) {
	t.Parallel()
	range5 := fmt.Sprintf("%X:3\r\n", sha1.Sum([]byte("right")))[5:] + fmt.Sprintf("%X:3\r\n", sha1.Sum([]byte(goodPassword)))[5:] //nolint:gosec // the format of the list
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/siteverify" {
			_, _ = io.WriteString(w, `{"success":true}`)
			return
		}
		_, _ = io.WriteString(w, range5)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	cert, _, err := vaulttest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	another := string(cert)
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	for name, tt := range map[string]struct {
		bundle string
		valid  bool
	}{"its own CA": {own, true}, "the system's": {"", false}, "another CA": {another, false}, "both": {another + own, true}} {
		t.Run(name, func(t *testing.T) {
			list := func() *compiled.BreachedPasswords {
				return &compiled.BreachedPasswords{URL: server.URL + "/range", CABundle: tt.bundle, Timeout: compiled.Duration(10 * time.Second), MinCount: 1, OnFailure: compiled.Allow}
			}
			s := newWorld(t).echoed().sidecar(registers(func(p *compiled.Policy) { p.PasswordPolicy.Breached = list() }))
			want := map[bool]int{true: 422, false: 200}[tt.valid]
			if g := s.send(registration("application/json", "", account(goodPassword, goodPassword, "a@b"))); g.status != want {
				t.Errorf("a new password: %d %s; want %d", g.status, g.text, want)
			}
			l := looksUp(t, compiled.Enforce, func(p *compiled.LoginProtection) {
				p.Breached = list()
			})
			if l.attempt("203.0.113.1", "ada@example.com", "right"); (l.told() == "true") != tt.valid {
				t.Errorf("a login: told %q", l.told())
			}
			w := newWorld(t)
			w.writeSecret("challenge", "secret", []byte("s3cret"))
			s = w.sidecar(loginProtectionPolicy("", func(p *compiled.LoginProtection) {
				p.Challenge = &compiled.Challenge{
					Header: "X-Challenge", URL: server.URL + "/siteverify", CABundle: tt.bundle, Secret: &compiled.SecretRef{Name: "challenge", Key: "secret"},
					Timeout: compiled.Duration(10 * time.Second), OnFailure: compiled.Deny,
				}
			})).ready()
			g := s.send(sent{method: "POST", path: "/login", header: http.Header{"Content-Type": {"application/json"}, "X-Challenge": {"x"}}, body: `{"email":"ada@example.com"}`})
			if (g.status != 503) != tt.valid {
				t.Errorf("a challenge: %d %s", g.status, g.text)
			}
		})
	}
}
