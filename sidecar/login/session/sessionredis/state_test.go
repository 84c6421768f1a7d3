package sessionredis

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const stateOwner = "sidecar/login/session/sessionredis"

// longest are the timeouts of the longest sessions in sessiontest.
var longest = statetest.Bounds{"idleTimeout": time.Hour, "absoluteTimeout": 24 * time.Hour}

func asNamespace(t *testing.T, page *statetest.Page) (*redistest.Server, *redis.Conn) {
	t.Helper()
	server := redistest.Start(t, redistest.Options{})
	page.Grant(t, statetest.Namespace, server)
	c := standalone(server)
	c.Username, c.Password = statetest.Namespace, password(statetest.Password)
	return server, connect(t, c)
}

// TestSizes stores the usual number of sessions per user, with the device and claims of an ordinary browser.
func TestSizes(t *testing.T) {
	t.Parallel()
	page := statetest.Read(t)
	server, conn := asNamespace(t, page)
	store := New(conn, scope, session.Timeouts{})
	device := session.NewDevice("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", netip.MustParseAddr("192.0.2.1"))
	const own, ended = 3, 3
	for range own {
		n := login(own, session.Reject)
		n.Device, n.Claims = device, []byte(`{"email":"user@example.com","groups":["staff","admins"],"tenant":"acme"}`)
		if _, _, err := store.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	page.CheckSizes(t, server, statetest.Units{"session": own, "owner": own})
	for range ended {
		n := login(0, session.Reject)
		n.Refresh, n.Issuer, n.Device = session.Refresh{}, "https://issuer.example", device
		if _, _, err := store.Admit(t.Context(), n, time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, err := store.End(t.Context(), n.ID); err != nil {
			t.Fatal(err)
		}
	}
	page.CheckSizes(t, server, statetest.Units{"ended sessions": ended})
}

// TestTheExampleIsTrue: docs/state.md shows the key of a subject's sessions.
func TestTheExampleIsTrue(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(statetest.Root(t), "docs", "state.md"))
	if err != nil {
		t.Fatal(err)
	}
	if key := New(nil, "shop/orders", session.Timeouts{}).owner(session.Owner{Subject: "user-42"}); !strings.Contains(string(page), "\n"+key+"\n") {
		t.Errorf("docs/state.md does not show %s", key)
	}
}

// TestKeysDoNotShowSubjects: neither the subject nor the issuer is part of a key, and a long subject makes no long key.
func TestKeysDoNotShowSubjects(t *testing.T) {
	t.Parallel()
	server, conn := asNamespace(t, statetest.Read(t))
	store := New(conn, scope, session.Timeouts{})
	for _, owner := range []session.Owner{
		{Subject: "ada@example.com"}, {Subject: "ada@example.com", Issuer: "https://issuer.example"}, {Subject: "ada@example.com" + strings.Repeat("x", 200)},
	} {
		n := login(1, session.EvictOldest)
		n.Owner = owner
		if owner.Issuer != "" {
			n.Refresh = session.Refresh{}
		}
		if _, _, err := store.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if owner.Issuer != "" {
			if _, err := store.End(t.Context(), n.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	keys := statetest.Keys(server)
	if len(keys) < 5 {
		t.Errorf("%d keys: %q", len(keys), keys)
	}
	for _, key := range keys {
		if strings.Contains(key, ":ada") || strings.Contains(key, "issuer") || len(key) > 100 {
			t.Errorf("the key %q", key)
		}
	}
}

func TestAnotherNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	_, conn := asNamespace(t, statetest.Read(t))
	foreign := New(conn, "billing/orders", session.Timeouts{})
	_, _, err := foreign.Create(t.Context(), login(0, session.Reject))
	if err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("a login in another namespace: %v; want NOPERM", err)
	}
	n := login(0, session.Reject)
	n.Subject = "}:{1:shop/" // within a key of the other namespace
	if _, _, err := foreign.Create(t.Context(), n); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("a login as %q in another namespace: %v; want NOPERM", n.Subject, err)
	}
}
