package revocationredis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const stateOwner = "sidecar/login/revocation/revocationredis"

func asNamespace(t *testing.T, page *statetest.Page) (*redistest.Server, *redis.Conn) {
	t.Helper()
	server := redistest.Start(t, redistest.Options{})
	page.Grant(t, statetest.Namespace, server)
	c := standalone(server)
	c.Username, c.Password = statetest.Namespace, password(statetest.Password)
	return server, connect(t, c)
}

// TestOneNamespace revokes and follows as the user of one namespace.
func TestOneNamespace(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	server, conn := asNamespace(t, page)
	store := New(conn, "shop")
	if _, err := store.Add(t.Context(), token("kept")); err != nil {
		t.Fatal(err)
	}
	short := token("short")
	short.Expires = time.Now().Add(50 * time.Millisecond)
	if _, err := store.Add(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(short.Expires) + time.Millisecond)
	if _, err := store.Add(t.Context(), token("a")); err != nil { // and removes what has expired
		t.Fatal(err)
	}
	if found, err := store.Find(t.Context(), []revocation.Entry{token("a")}); err != nil || len(found) != 1 {
		t.Errorf("finding: %v, %v", found, err)
	}
	if n, err := store.Count(t.Context()); err != nil || n != 2 {
		t.Errorf("%d revocations, %v; want 2", n, err)
	}
	follow(t, store)
	page.Check(t, stateOwner, statetest.Bounds{"longest revocation": time.Hour}, server)
}

// follow loads and waits until the store has confirmed that nothing was missed.
func follow(t *testing.T, store *Store) {
	t.Helper()
	cursor, err := store.Load(t.Context(), func([]revocation.Entry) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sink := freshSink{stop: cancel}
	if err := store.Follow(ctx, cursor, 100*time.Millisecond, sink); !errors.Is(err, context.Canceled) {
		t.Errorf("following: %v", err)
	}
}

// freshSink stops at the first report that nothing was missed.
type freshSink struct{ stop context.CancelFunc }

func (s freshSink) Apply(revocation.Cursor, []revocation.Entry) {}
func (s freshSink) Doubt(error) error                           { return nil }
func (s freshSink) Fresh(context.Context, time.Time) error      { s.stop(); return nil }

func TestSizes(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	server, conn := asNamespace(t, page)
	const n = 1000
	var entries []revocation.Entry
	for i := range n {
		entries = append(entries, token(fmt.Sprintf("%032d", i)))
	}
	if _, err := New(conn, "shop").Add(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	page.CheckSizes(t, server, statetest.Units{"revocation position": 1, "revocations": n, "revocation expiry": n, "revocation changes": n})
}

func TestAnotherNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	_, conn := asNamespace(t, statetest.Read(t))
	for _, namespace := range []string{"billing", "shopx", "xshop", "shop/orders"} {
		foreign := New(conn, namespace)
		_, errAdd := foreign.Add(t.Context(), token("a"))
		_, errFind := foreign.Find(t.Context(), []revocation.Entry{token("a")})
		_, errLoad := foreign.Load(t.Context(), func([]revocation.Entry) {})
		for i, err := range []error{errAdd, errFind, errLoad} {
			if err == nil || !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("namespace %q, operation %d: %v; want NOPERM", namespace, i, err)
			}
		}
	}
}
