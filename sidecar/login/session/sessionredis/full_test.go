package sessionredis

import (
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestAFullRedisLogsNobodyOut: a session that can be read continues, although its last use cannot be written. A login must be
// written, so it fails.
func TestAFullRedisLogsNobodyOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	store := New(connect(t, standalone(server)), scope, session.Timeouts{})
	n := login(3, session.EvictOldest)
	begun, _, err := store.Create(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "1")
	time.Sleep(10 * time.Millisecond) // so that there is something to record
	seen, err := store.Touch(t.Context(), n.ID, 0)
	if err != nil || !seen.IdleExpiry.Equal(begun.IdleExpiry) {
		t.Errorf("touching: %v, expires %s; want the unchanged %s", err, seen.IdleExpiry, begun.IdleExpiry)
	}
	if _, _, err := store.Create(t.Context(), login(3, session.EvictOldest)); err == nil {
		t.Error("a login succeeded with a full Redis")
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	if seen, err = store.Touch(t.Context(), n.ID, 0); err != nil || !seen.IdleExpiry.After(begun.IdleExpiry) {
		t.Errorf("touching with free memory again: %v, expires %s; want later than %s", err, seen.IdleExpiry, begun.IdleExpiry)
	}
}
