package sessionredis

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestEndedSessionsAreAnonymous: an external session that has ended, by a call or by its idle timeout, keeps nothing that shows whose it was,
// and stays ended.
func TestEndedSessionsAreAnonymous(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)), scope, session.Timeouts{})
	n := login(0, session.Reject)
	n.Refresh, n.Owner = session.Refresh{}, session.Owner{Issuer: "https://issuer.example", Subject: "ada"}
	n.Claims = []byte(`{"email":"ada@example.com"}`)
	n.Device = session.NewDevice("curl/8.0", netip.MustParseAddr("192.0.2.77"))
	texts := []string{"ada", "issuer.example", "curl/8.0", "192.0.2.77"}
	for name, end := range map[string]func(id string) error{
		"ended":     func(id string) error { _, err := store.End(t.Context(), id); return err },
		"all ended": func(string) error { _, err := store.EndAll(t.Context(), n.Owner, ""); return err },
		"idle": func(id string) error {
			server.Do("HSET", store.prefix+id, "expires", "1")
			_, err := store.EndAll(t.Context(), n.Owner, "")
			return err
		},
	} {
		n.ID = session.ExternalID(n.Issuer, name)
		if _, _, err := store.Admit(t.Context(), n, time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if !strings.Contains(fmt.Sprint(server.Do("HGETALL", store.prefix+n.ID)), text) {
				t.Fatalf("%s: the session does not hold %q", name, text)
			}
		}
		if err := end(n.ID); err != nil {
			t.Fatal(err)
		}
		left := fmt.Sprint(server.Do("HGETALL", store.prefix+n.ID))
		for _, text := range texts {
			if strings.Contains(left, text) {
				t.Errorf("%s: %q is left in %s", name, text, left)
			}
		}
		if _, _, err := store.Admit(t.Context(), n, time.Minute); err != session.ErrEnded {
			t.Errorf("%s: admitted again: %v", name, err)
		}
	}
}
