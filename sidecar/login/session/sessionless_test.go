package session_test

import (
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/login/session"
)

// TestSessionless: identities of these issuers need no session, begin none and ask no store, whatever they claim; others of the policy do.
func TestSessionless(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.Sessionless = []string{"urn:postern:api-keys", "urn:postern:basic-users"} })
	for _, issuer := range []string{"urn:postern:api-keys", "urn:postern:basic-users"} {
		w.want("", &identity.Identity{Issuer: issuer, Subject: "ada", Claims: map[string]any{"sid": "x", "sub": "ada"}})
	}
	if n := w.asks.Load(); n != 0 {
		t.Errorf("%d requests to the store", n)
	}
	w.want("session-missing", &identity.Identity{Issuer: own, Subject: "ada", Claims: map[string]any{"sid": "x"}})
	w.want("", external("x", "ada"))
	if w.asks.Load() == 0 {
		t.Error("another issuer needs no session either")
	}
}
