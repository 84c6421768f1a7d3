package jwks

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

func TestFloodOfUnknownKids(t *testing.T) {
	c := &clock{}
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	m, _ := newTestManager(t, c)
	s := acquire(t, m, o.spec())
	if _, err := lookup(t, s, "a"); err != nil {
		t.Fatal(err)
	}
	c.advance(m.pace.minGap)
	o.handle(serve(jwkSet(t, rsaJWK(t, "fresh"))))
	var wg sync.WaitGroup
	var fresh, wrong atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			for j := range 50 {
				_, err := s.Lookup(t.Context(), fmt.Sprintf("random-%d-%d", i, j), "RS256")
				if !errors.Is(err, ErrUnknownKey) {
					wrong.Add(1)
				}
			}
			if _, err := s.Lookup(t.Context(), "fresh", "RS256"); err == nil {
				fresh.Add(1)
			}
		})
	}
	wg.Wait()
	if n := o.hits.Load(); n != 2 {
		t.Errorf("%d fetches, want 2", n)
	}
	if fresh.Load() != 200 || wrong.Load() != 0 {
		t.Errorf("%d of 200 found the fresh key, %d unexpected results", fresh.Load(), wrong.Load())
	}
	p, ok := s.(*polled)
	if !ok || p.absent.Len() > maxAbsent {
		t.Errorf("%d absent kids are remembered", p.absent.Len())
	}
}

func TestWaitersAreBounded(t *testing.T) {
	gate := make(chan struct{})
	m, _ := newTestManager(t, &clock{})
	m.pace.maxWaiters = 2
	s := acquire(t, m, Spec{Provider: "p", Algorithms: []string{"HS256"}, SecretName: "s", Secret: sourceFunc(func() (secret.Value, error) {
		<-gate
		return secret.New(make([]byte, 32)), nil
	})})
	var wg sync.WaitGroup
	var found, refused atomic.Int64
	for range 10 {
		wg.Go(func() {
			if _, err := s.Lookup(t.Context(), "", "HS256"); errors.Is(err, ErrUnavailable) {
				refused.Add(1)
			} else if err == nil {
				found.Add(1)
			}
		})
	}
	eventually(t, "all but two are refused", func() bool { return refused.Load() == 8 })
	close(gate)
	wg.Wait()
	if found.Load() != 2 {
		t.Errorf("%d found the key, want 2", found.Load())
	}
}

// sourceFunc is a secret source.
type sourceFunc func() (secret.Value, error)

func (f sourceFunc) Read(context.Context) (secret.Value, error) { return f() }

func TestSourcesAreShared(t *testing.T) {
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	m, _ := newTestManager(t, &clock{})
	first, releaseFirst, err := m.Acquire(o.spec())
	if err != nil {
		t.Fatal(err)
	}
	second, releaseSecond, err := m.Acquire(o.spec())
	if err != nil {
		t.Fatal(err)
	}
	if first != second {
		t.Fatal("equal specs have different sources")
	}
	releaseFirst()
	releaseFirst() // a second call must not release the other user's source
	if len(m.Status()) != 1 {
		t.Fatal("the source was closed while it is in use")
	}
	if _, err := lookup(t, second, "a"); err != nil || o.hits.Load() != 1 {
		t.Fatalf("Lookup after a reload: %v, %d fetches", err, o.hits.Load())
	}
	releaseSecond()
	if len(m.Status()) != 0 {
		t.Fatal("a released source still exists")
	}
	p, ok := second.(*polled)
	if !ok || p.life.Err() == nil {
		t.Fatal("a released source is still running")
	}
}

func TestChangedSpecInheritsLastGoodSet(t *testing.T) {
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	m, registry := newTestManager(t, &clock{})
	if _, err := lookup(t, acquire(t, m, o.spec()), "a"); err != nil {
		t.Fatal(err)
	}
	o.handle(status(500))
	changed := o.spec()
	changed.RefreshInterval = time.Minute
	if _, err := lookup(t, acquire(t, m, changed), "a"); err != nil {
		t.Fatalf("another interval, during an outage: %v", err)
	}
	other := o.spec()
	other.CABundle = append(o.ca(), newOrigin(t, status(500)).ca()...)
	if _, err := lookup(t, acquire(t, m, other), "a"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("another CA: %v", err)
	}
	if n := len(m.Status()); n != 1 {
		t.Fatalf("%d states of one provider", n)
	}
	if _, err := registry.Gather(); err != nil {
		t.Fatalf("metrics while a reload holds several sources: %v", err)
	}
}

func TestSecretSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write([]byte(strings.Repeat("a", 32) + "\n"))
	c := &clock{}
	m, _ := newTestManager(t, c)
	spec := Spec{Provider: "p", Algorithms: []string{"HS256"}, Secret: secret.File(path), SecretName: path}
	s := acquire(t, m, spec)
	keys, err := s.Lookup(t.Context(), "", "HS256")
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(strings.Repeat("a", 32)))
	mac.Write([]byte("a.b"))
	if err := keys[0].Verify("a.b", mac.Sum(nil)); err != nil {
		t.Fatalf("the trailing newline is not part of the secret: %v", err)
	}
	reload := func() {
		t.Helper()
		p, ok := s.(*polled)
		if !ok {
			t.Fatal("not a polled source")
		}
		<-p.start().done
	}
	reload()
	if !s.Holds(keys[0]) {
		t.Fatal("an unchanged secret lost its key")
	}
	write([]byte("short"))
	reload()
	if st := m.Status()[0]; !s.Holds(keys[0]) || !strings.Contains(st.Err, "needs at least 32") || strings.Contains(st.Err, "short") {
		t.Fatalf("status with a bad secret: %+v", st)
	}
	write([]byte(strings.Repeat("b", 32)))
	reload()
	if st := m.Status()[0]; s.Holds(keys[0]) || st.Err != "" {
		t.Fatalf("status after rotation: %+v", st)
	}
}

func TestAcquireRefuses(t *testing.T) {
	set := jwkSet(t, rsaJWK(t, "a"))
	file := secret.File("/nonexistent")
	rs, hs := []string{"RS256"}, []string{"HS256"}
	tests := map[string]struct {
		spec    Spec
		wantErr string
	}{
		"no origin":               {Spec{Algorithms: rs}, "exactly one"},
		"two origins":             {Spec{Algorithms: rs, Inline: set, URI: "https://a.example/"}, "exactly one"},
		"no algorithms":           {Spec{Inline: set}, "the list is empty"},
		"bad inline set":          {Spec{Algorithms: rs, Inline: []byte("{}")}, "no \"keys\""},
		"empty inline set":        {Spec{Algorithms: rs, Inline: []byte{}}, "not one valid JSON"},
		"inline without use":      {Spec{Algorithms: []string{"ES256"}, Inline: set}, "no usable key"},
		"HMAC by URI":             {Spec{Algorithms: hs, URI: "https://a.example/"}, "need a Secret"},
		"HMAC inline":             {Spec{Algorithms: hs, Inline: set}, "need a Secret"},
		"secret without name":     {Spec{Algorithms: hs, Secret: file}, "no name"},
		"plain HTTP":              {Spec{Algorithms: rs, URI: "http://a.example/"}, "https://"},
		"bad CA bundle":           {Spec{Algorithms: rs, URI: "https://a.example/", CABundle: []byte("x")}, "no PEM"},
		"interval too short":      {Spec{Algorithms: rs, URI: "https://a.example/", RefreshInterval: time.Second}, "shorter than"},
		"interval negative":       {Spec{Algorithms: rs, URI: "https://a.example/", RefreshInterval: -time.Hour}, "shorter than"},
		"maxStale below interval": {Spec{Algorithms: rs, URI: "https://a.example/", MaxStale: time.Minute}, "would expire"},
		"maxStale of a secret":    {Spec{Algorithms: hs, Secret: file, SecretName: "a", MaxStale: time.Second}, "shorter than"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, _ := newTestManager(t, &clock{})
			_, _, err := m.Acquire(tt.spec)
			if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Fatalf("Acquire = %v, want %q", err, tt.wantErr)
			}
			if len(m.Status()) != 0 {
				t.Fatal("a refused spec left a source")
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	o := newOrigin(t, serve(jwkSet(t, rsaJWK(t, "a"))))
	m, registry := newTestManager(t, &clock{})
	if _, err := lookup(t, acquire(t, m, o.spec()), "a"); err != nil {
		t.Fatal(err)
	}
	acquire(t, m, Spec{Provider: "fixed", Algorithms: every(), Inline: jwkSet(t, rsaJWK(t, "a"))})
	want := `
# HELP postern_jwks_fetches_total Loads of a provider's key set, by result: ok, not_modified or error.
# TYPE postern_jwks_fetches_total counter
postern_jwks_fetches_total{provider="corp",result="error"} 0
postern_jwks_fetches_total{provider="corp",result="not_modified"} 0
postern_jwks_fetches_total{provider="corp",result="ok"} 1
# HELP postern_jwks_keys Usable keys in a provider's active key set.
# TYPE postern_jwks_keys gauge
postern_jwks_keys{provider="corp"} 1
postern_jwks_keys{provider="fixed"} 1
# HELP postern_jwks_ready 1 if a provider has an active key set; 0 if its tokens are refused with 503.
# TYPE postern_jwks_ready gauge
postern_jwks_ready{provider="corp"} 1
postern_jwks_ready{provider="fixed"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "postern_jwks_fetches_total", "postern_jwks_keys", "postern_jwks_ready"); err != nil {
		t.Fatal(err)
	}
	if _, err := NewManager(ManagerConfig{Registerer: registry}); err == nil {
		t.Error("metrics were registered twice")
	}
	var registerer prometheus.Registerer // a manager without metrics
	if _, err := NewManager(ManagerConfig{Registerer: registerer}); err != nil {
		t.Error(err)
	}
}
