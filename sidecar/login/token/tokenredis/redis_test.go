package tokenredis

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/keys/dpop"
	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
	"github.com/posterndev/postern/sidecar/store/statetest"
)

const stateOwner = "sidecar/login/token/tokenredis"

type password string

func (p password) Read(context.Context) (secret.Value, error) { return secret.New([]byte(p)), nil }

// connect logs in as the user of docs/state.md for one namespace.
func connect(t *testing.T, server *redistest.Server) *redis.Conn {
	t.Helper()
	m, err := redis.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := redis.Open(redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}, Timeout: 5 * time.Second, ProbeKey: statetest.ProbeKey,
		Username: statetest.Namespace, Password: password(statetest.Password)}, m, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestStore(t *testing.T) {
	page, server := statetest.Read(t), redistest.Start(t, redistest.Options{})
	page.Grant(t, statetest.Namespace, server)
	a, b := New(connect(t, server), "shop/orders"), New(connect(t, server), "shop/orders")
	other := New(connect(t, server), "shop/carts")

	first, err := a.Since(t.Context(), map[string]time.Time{"k1": {}})
	if err != nil {
		t.Fatal(err)
	}
	if age := time.Since(first["k1"]); age < -time.Minute || age > time.Minute {
		t.Errorf("k1 was seen %s ago", age)
	}
	belief := time.UnixMicro(1_700_000_000_000_001)
	second, err := b.Since(t.Context(), map[string]time.Time{"k1": belief, "k2": belief})
	if err != nil || !second["k1"].Equal(first["k1"]) || !second["k2"].Equal(belief) {
		t.Errorf("b sees %v, %v", second, err)
	}
	if foreign, err := other.Since(t.Context(), map[string]time.Time{"k1": belief}); err != nil || !foreign["k1"].Equal(belief) {
		t.Errorf("another policy sees %v, %v", foreign, err)
	}
	for i, want := range []bool{true, false, false} {
		if got, err := []*Store{a, a, b}[i].Claim(t.Context(), "rotate", time.Minute); err != nil || got != want {
			t.Errorf("claim %d = %v, %v; want %v", i, got, err, want)
		}
		if got, err := []*Store{a, a, b}[i].First(t.Context(), "https://id.example.com", "j", time.Minute); err != nil || got != want {
			t.Errorf("logout token %d = %v, %v; want %v", i, got, err, want)
		}
	}
	key := dpop.Thumbprint{1}
	for i, want := range []bool{true, false, false} {
		if got, err := []*Store{a, a, b}[i].FirstProof(t.Context(), key, "j", 2*time.Minute); err != nil || got != want {
			t.Errorf("DPoP proof %d = %v, %v; want %v", i, got, err, want)
		}
	}
	if got, err := b.FirstProof(t.Context(), dpop.Thumbprint{2}, "j", 2*time.Minute); err != nil || !got {
		t.Errorf("another key's proof = %v, %v", got, err)
	}
	if got, err := other.Claim(t.Context(), "rotate", time.Minute); err != nil || !got {
		t.Errorf("another policy's claim = %v, %v", got, err)
	}

	if err := b.Forget(t.Context(), "https://id.example.com", "j"); err != nil {
		t.Error(err)
	}
	if got, err := a.First(t.Context(), "https://id.example.com", "j", time.Minute); err != nil || !got {
		t.Errorf("after Forget: %v, %v", got, err)
	}

	page.CheckSizes(t, server, statetest.Units{"signing key date": 3, "rotation claim": 2, "logout token": 1, "used DPoP proof": 2})
	page.Check(t, stateOwner, statetest.Bounds{"time to exp": 0, "leeway": 30 * time.Second, "maxAge": time.Minute}, server)

	billing := New(connect(t, server), "billing/orders")
	_, errClaim := billing.Claim(t.Context(), "rotate", time.Minute)
	_, errSince := billing.Since(t.Context(), map[string]time.Time{"k1": {}})
	for i, err := range []error{errClaim, errSince, billing.Forget(t.Context(), "https://id.example.com", "j")} {
		if err == nil || !strings.Contains(err.Error(), "NOPERM") {
			t.Errorf("another namespace, operation %d: %v; want NOPERM", i, err)
		}
	}

	server.Stop()
	if err := a.Forget(t.Context(), "https://id.example.com", "j"); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
	if _, err := a.Since(t.Context(), map[string]time.Time{"k1": {}}); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
	if _, err := a.FirstProof(t.Context(), key, "j", time.Minute); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
	if _, err := a.Claim(t.Context(), "rotate", time.Minute); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("without Redis: %v", err)
	}
}
