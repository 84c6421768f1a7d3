package sessionmemory

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
)

// TestEndedSessionsAreAnonymous: an external session that has ended, by a call or by its idle timeout, keeps nothing that shows whose it was,
// and stays ended.
func TestEndedSessionsAreAnonymous(t *testing.T) {
	c := newClocked(0)
	owner := session.Owner{Issuer: "https://issuer.example", Subject: "ada"}
	for name, wait := range map[string]time.Duration{"ended": time.Minute, "idle": 2 * time.Hour} {
		n := session.New{ID: session.ExternalID(owner.Issuer, name), Owner: owner, Claims: []byte(`{"email":"ada@example.com"}`),
			Limits: session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 24 * time.Hour, WhenFull: session.Reject}}
		if _, _, err := c.Admit(t.Context(), n, time.Minute); err != nil {
			t.Fatal(err)
		}
		c.Advance(wait)
		if _, err := c.EndAll(t.Context(), owner, ""); err != nil {
			t.Fatal(err)
		}
		left := fmt.Sprintf("%+v %+v %+v", c.sessions[n.ID].Session, c.owners, c.ended)
		if strings.Contains(left, "ada") || strings.Contains(left, "issuer.example") {
			t.Errorf("%s: left is %s", name, left)
		}
		if _, _, err := c.Admit(t.Context(), n, time.Minute); err != session.ErrEnded {
			t.Errorf("%s: admitted again: %v", name, err)
		}
	}
}
