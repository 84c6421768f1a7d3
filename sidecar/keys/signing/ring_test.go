package signing

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/secret"
)

func TestNewRingRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"no source":      {func(c *Config) { c.Source = nil }, "required"},
		"no logger":      {func(c *Config) { c.Logger = nil }, "required"},
		"algorithm":      {func(c *Config) { c.Algorithm = "none" }, "is not one of"},
		"lifetime":       {func(c *Config) { c.Lifetime = 0 }, "lifetime"},
		"short overlap":  {func(c *Config) { c.Overlap = MinOverlap - 1 }, "overlap"},
		"short interval": {func(c *Config) { c.Interval = 2*overlap - 1 }, "rotation"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := Config{Source: StoredKeys{}, Algorithm: ES256, Overlap: overlap, Lifetime: lifetime, Logger: slog.New(slog.DiscardHandler)}
			tt.change(&c)
			if _, err := NewRing(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v; want one with %q", err, tt.want)
			}
		})
	}
}

func TestNoKeyYet(t *testing.T) {
	h := &history{}
	h.set(errUnavailable)
	r := newRing(t, newClock(), StoredKeys{Secrets: h, Algorithm: ES256}, nil)
	if err := r.Refresh(t.Context()); !errors.Is(err, errUnavailable) || !errors.Is(r.Status().Err, errUnavailable) {
		t.Errorf("Refresh = %v, status %v", err, r.Status().Err)
	}
	if _, err := r.Current(); !errors.Is(err, ErrNoKey) {
		t.Errorf("Current = %v; want ErrNoKey", err)
	}
	if _, err := r.Lookup(t.Context(), "a", "ES256"); !errors.Is(err, jwks.ErrUnavailable) {
		t.Errorf("Lookup = %v; want ErrUnavailable", err)
	}
	if document, err := r.Document(); !errors.Is(err, ErrNoKey) {
		t.Errorf("Document = %s, %v: verifiers would cache an empty set", document, err)
	}
}

// TestStaleKeyDoesNotSign: a key that was last read too long ago may have been withdrawn, so it does not sign. Its tokens still
// verify.
func TestStaleKeyDoesNotSign(t *testing.T) {
	h, c := &history{}, newClock()
	k1 := content(set(t, jwk(t, ecKey(t), map[string]any{"kid": "k1"})))
	h.set(nil, k1)
	r := newRing(t, c, StoredKeys{Secrets: h, Algorithm: ES256}, func(cfg *Config) { cfg.MaxStale = time.Hour })
	refresh(t, r)
	h.set(errUnavailable)
	c.advance(time.Hour)
	_ = r.Refresh(t.Context())
	if _, err := r.Current(); err != nil || r.Status().Current != "k1" {
		t.Errorf("after an hour: %v, status %q", err, r.Status().Current)
	}
	c.advance(time.Second)
	if _, err := r.Current(); !errors.Is(err, ErrNoKey) || r.Status().Current != "" {
		t.Errorf("after more than an hour: %v, status %q", err, r.Status().Current)
	}
	if _, err := r.Lookup(t.Context(), "k1", "ES256"); err != nil {
		t.Errorf("a token of the key is not verified: %v", err)
	}
	h.set(nil, k1)
	refresh(t, r)
	if _, err := r.Current(); err != nil {
		t.Errorf("read again: %v", err)
	}
}

// TestRotation follows two replicas through the rotation of a key whose versions have no dates.
func TestRotation(t *testing.T) {
	k1, k2 := ecKey(t), ecKey(t)
	first, second := jwk(t, k1, map[string]any{"kid": "k1"}), jwk(t, k2, map[string]any{"kid": "k2", "iat": 1})
	c, shared := newClock(), newRegistry(newClock())
	shared.now = c.now
	h1, h2 := &history{}, &history{}
	h1.set(nil, content(set(t, first)))
	h2.set(nil, content(set(t, first)))
	with := func(c *Config) { c.Registry = shared }
	a, b := newRing(t, c, StoredKeys{h1, ES256}, with), newRing(t, c, StoredKeys{h2, ES256}, with)
	refresh(t, a, b)
	if current(t, a) != "k1" || current(t, b) != "k1" {
		t.Fatal("the only key does not sign at once")
	}
	old, err := a.Current()
	if err != nil {
		t.Fatal(err)
	}

	c.advance(time.Hour)
	both := content(set(t, first, second))
	h1.set(nil, both)
	refresh(t, a)
	c.advance(20 * time.Second)
	h2.set(nil, both)
	refresh(t, b)
	c.advance(overlap - 20*time.Second - time.Second)
	for name, r := range map[string]*Ring{"a": a, "b": b} {
		if s := r.Status(); s.Current != "k1" || len(s.Published) != 2 {
			t.Errorf("before the end of the overlap, %s is at %+v", name, s)
		}
	}
	c.advance(time.Second) // both switch now, although b read the key later
	for name, r := range map[string]*Ring{"a": a, "b": b} {
		if s := r.Status(); s.Current != "k2" || len(s.Published) != 2 {
			t.Errorf("after the overlap, %s is at %+v", name, s)
		}
		if err := verify(t, old, r); err != nil {
			t.Errorf("a token of the old key at %s: %v", name, err)
		}
	}
	keys, err := a.Lookup(t.Context(), "k1", "ES256")
	if err != nil {
		t.Fatal(err)
	}
	c.advance(lifetime + MinOverlap)
	if s := a.Status(); len(s.Published) != 1 {
		t.Errorf("after its last token has expired, %v are published", s.Published)
	}
	if a.Holds(keys[0]) {
		t.Error("the old key is still held")
	}
	if err := verify(t, old, b); !errors.Is(err, jwks.ErrUnknownKey) {
		t.Errorf("the old key verifies: %v", err)
	}
}

// TestDates covers the sources of dates. A key's own date neither makes it sign early nor retires its predecessor.
func TestDates(t *testing.T) {
	k1, k2 := ecKey(t), ecKey(t)
	j1, j2 := jwk(t, k1, map[string]any{"kid": "k1", "iat": 100}), jwk(t, k2, map[string]any{"kid": "k2", "iat": 200})
	long := start.Add(-24 * time.Hour)
	tests := map[string]struct {
		contents []secret.Version
		registry bool
		want     string
	}{
		"KV v2, both old":              {[]secret.Version{{Value: content(set(t, j1)).Value, Created: long}, {Value: content(set(t, j2)).Value, Created: long.Add(time.Hour)}}, true, "k2"},
		"KV v2, the second recent":     {[]secret.Version{{Value: content(set(t, j1)).Value, Created: long}, {Value: content(set(t, j2)).Value, Created: start.Add(-overlap + 1)}}, true, "k1"},
		"KV v2, both in one version":   {[]secret.Version{{Value: content(set(t, j1)).Value, Created: long}, {Value: content(set(t, j1, j2)).Value, Created: start}}, true, "k1"},
		"fresh registry":               {[]secret.Version{content(set(t, j2, j1))}, true, "k1"},
		"no registry: the newest":      {[]secret.Version{content(set(t, j2, j1))}, false, "k2"},
		"an older version is unusable": {[]secret.Version{{Value: content([]byte("rubbish")).Value, Created: long}, {Value: content(set(t, j2)).Value, Created: start}}, false, "k2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, h := newClock(), &history{}
			h.set(nil, tt.contents...)
			r := newRing(t, c, StoredKeys{h, ES256}, func(cfg *Config) {
				if tt.registry {
					cfg.Registry = newRegistry(c)
				}
			})
			refresh(t, r)
			if got := current(t, r); got != tt.want {
				t.Errorf("%s signs; want %s", got, tt.want)
			}
		})
	}
}

// TestReplacedSecret: the only key of a Secret is replaced by another, as with kubectl apply.
func TestReplacedSecret(t *testing.T) {
	c, h := newClock(), &history{}
	h.set(nil, content(pkcs8(t, ecKey(t))))
	r := newRing(t, c, StoredKeys{h, ES256}, func(cfg *Config) { cfg.Registry = newRegistry(c) })
	refresh(t, r)
	old := current(t, r)
	c.advance(time.Hour)
	h.set(nil, content(pkcs8(t, ecKey(t))))
	refresh(t, r)
	if got := current(t, r); got != old || len(r.Status().Published) != 2 {
		t.Errorf("current key %s; want %s during the overlap", got, old)
	}
	c.advance(overlap)
	refresh(t, r)
	if got := current(t, r); got == old || len(r.Status().Published) != 2 {
		t.Error("the new key does not sign, or the old one is no longer published")
	}
	c.advance(lifetime + MinOverlap)
	refresh(t, r)
	if s := r.Status(); len(s.Published) != 1 || len(r.state.Load().members) != 1 {
		t.Errorf("the old key is still published: %v", s.Published)
	}
}

// TestWithdrawn: a key that is removed without a newer one stops signing at the next read.
func TestWithdrawn(t *testing.T) {
	c, h := newClock(), &history{}
	j1, j2 := jwk(t, ecKey(t), map[string]any{"kid": "k1"}), jwk(t, ecKey(t), map[string]any{"kid": "k2"})
	h.set(nil, content(set(t, j1)))
	shared := newRegistry(c)
	r := newRing(t, c, StoredKeys{h, ES256}, func(cfg *Config) { cfg.Registry = shared })
	refresh(t, r)
	h.set(nil, content(set(t, j1, j2)))
	c.advance(time.Minute)
	refresh(t, r)
	c.advance(overlap)
	if got := current(t, r); got != "k2" {
		t.Fatalf("%s signs", got)
	}
	h.set(nil, content(set(t, j1)))
	refresh(t, r)
	if s := r.Status(); s.Current != "k1" || len(s.Published) != 2 {
		t.Errorf("after k2 was withdrawn: %+v", s)
	}
	c.advance(lifetime + MinOverlap)
	refresh(t, r)
	if s := r.Status(); s.Current != "k1" || len(s.Published) != 1 {
		t.Errorf("after its tokens have expired: %+v", s)
	}
}

func TestSourceFails(t *testing.T) {
	c, h := newClock(), &history{}
	h.set(nil, content(pkcs8(t, ecKey(t))))
	r := newRing(t, c, StoredKeys{h, ES256}, nil)
	refresh(t, r)
	id := current(t, r)
	for name, fail := range map[string]func(){
		"unavailable": func() { h.set(errUnavailable) },
		"rubbish":     func() { h.set(nil, content([]byte("rubbish"))) },
		"nothing":     func() { h.set(nil) },
	} {
		fail()
		err := r.Refresh(t.Context())
		if name == "nothing" {
			if err == nil {
				t.Error("a source without keys is no error")
			}
		} else if err == nil || r.Status().Err == nil {
			t.Errorf("%s: no error", name)
		}
		if got := current(t, r); got != id {
			t.Errorf("%s: the last good key does not sign", name)
		}
	}
	h.set(nil, content(pkcs8(t, ecKey(t))))
	refresh(t, r)
	if s := r.Status(); s.Err != nil || !s.Read.Equal(c.now()) {
		t.Errorf("afterwards: %+v", s)
	}
}

func TestRegistryFails(t *testing.T) {
	c, h := newClock(), &history{}
	j1, j2 := jwk(t, ecKey(t), map[string]any{"kid": "k1"}), jwk(t, ecKey(t), map[string]any{"kid": "k2"})
	h.set(nil, content(set(t, j1)))
	shared := newRegistry(c)
	r := newRing(t, c, StoredKeys{h, ES256}, func(cfg *Config) { cfg.Registry = shared })
	shared.err = errUnavailable
	refresh(t, r)
	if current(t, r) != "k1" {
		t.Error("the only key does not sign")
	}
	h.set(nil, content(set(t, j1, j2)))
	refresh(t, r)
	c.advance(2 * overlap)
	if s := r.Status(); s.Current != "k1" || len(s.Published) != 2 {
		t.Errorf("a key whose date is not shared signs: %+v", s)
	}
	shared.err = nil
	refresh(t, r)
	c.advance(overlap)
	if current(t, r) != "k2" {
		t.Error("the new key never signs")
	}
	before := shared.dates["k1"]
	shared.flush()
	c.advance(time.Hour)
	refresh(t, r)
	if !shared.dates["k1"].Equal(before) || current(t, r) != "k2" {
		t.Error("a flush of the registry changed the dates")
	}
}

// TestMiss: a token signed with a key that another replica has already read is accepted. Misses cause few reads.
func TestMiss(t *testing.T) {
	c, h := newClock(), &history{}
	j1, j2 := jwk(t, ecKey(t), map[string]any{"kid": "k1"}), jwk(t, ecKey(t), map[string]any{"kid": "k2"})
	h.set(nil, content(set(t, j1)))
	r := newRing(t, c, StoredKeys{h, ES256}, func(cfg *Config) { cfg.Registry = newRegistry(c) })
	refresh(t, r)
	h.set(nil, content(set(t, j1, j2)))
	if _, err := r.Lookup(t.Context(), "k2", "ES256"); err != nil {
		t.Errorf("a key that was added: %v", err)
	}
	reads := h.reads
	for range 100 {
		if _, err := r.Lookup(t.Context(), "k3", "ES256"); !errors.Is(err, jwks.ErrUnknownKey) {
			t.Fatalf("error = %v", err)
		}
	}
	if h.reads != reads {
		t.Errorf("a hundred misses made %d reads", h.reads-reads)
	}
	c.advance(missInterval)
	if _, err := r.Lookup(t.Context(), "k3", "ES256"); err == nil || h.reads != reads+1 {
		t.Errorf("a miss later: %v, %d reads", err, h.reads-reads)
	}
	if _, err := r.Lookup(t.Context(), "", "ES256"); !errors.Is(err, jwks.ErrUnknownKey) {
		t.Errorf("no kid: %v", err)
	}
	if _, err := r.Lookup(t.Context(), "k1", "HS256"); !errors.Is(err, jwks.ErrAlgorithm) {
		t.Errorf("another algorithm: %v", err)
	}
}

func TestDocument(t *testing.T) {
	tests := map[string]struct {
		algorithm Algorithm
		content   []byte
		wantKeys  int
	}{
		"ES256":               {ES256, pkcs8(t, ecKey(t)), 1},
		"RS256":               {RS256, pkcs8(t, testRSA(t)), 1},
		"secrets stay inside": {HS256, secretBytes(t, 40), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := &history{}
			h.set(nil, content(tt.content))
			r := newRing(t, newClock(), StoredKeys{h, tt.algorithm}, func(c *Config) { c.Algorithm = tt.algorithm })
			refresh(t, r)
			document, err := r.Document()
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ Keys []map[string]string }
			if err := json.Unmarshal(document, &got); err != nil || len(got.Keys) != tt.wantKeys {
				t.Fatalf("%s: %v; want %d keys", document, err, tt.wantKeys)
			}
			for _, k := range got.Keys {
				for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
					if _, ok := k[private]; ok {
						t.Errorf("the document has %s", private)
					}
				}
				if k["kid"] != current(t, r) || k["use"] != "sig" || k["alg"] != string(tt.algorithm) {
					t.Errorf("key = %v", k)
				}
			}
		})
	}
}

func TestRunReadsAgain(t *testing.T) {
	h := &history{}
	h.set(nil, content(pkcs8(t, ecKey(t))))
	r := newRing(t, newClock(), StoredKeys{h, ES256}, nil)
	done := make(chan struct{})
	ctx, cancel := contextOf(t)
	go func() { defer close(done); r.Run(ctx) }()
	for {
		if _, err := r.Current(); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
}

// TestConcurrent is for the race detector: requests look up keys while versions change.
func TestConcurrent(t *testing.T) {
	c, h := newClock(), &history{}
	j1, j2 := jwk(t, ecKey(t), map[string]any{"kid": "k1"}), jwk(t, ecKey(t), map[string]any{"kid": "k2"})
	h.set(nil, content(set(t, j1)))
	r := newRing(t, c, StoredKeys{h, ES256}, func(cfg *Config) { cfg.Registry = newRegistry(c) })
	refresh(t, r)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				keys, err := r.Lookup(t.Context(), "k1", "ES256")
				if err != nil || !r.Holds(keys[0]) || len(r.Status().Published) == 0 {
					t.Errorf("Lookup: %v", err)
				}
				if _, err := r.Document(); err != nil {
					t.Error(err)
				}
				_, _ = r.Lookup(t.Context(), "k3", "ES256")
			}
		})
	}
	h.set(nil, content(set(t, j1, j2)))
	for range 10 {
		c.advance(time.Second)
		refresh(t, r)
	}
	wg.Wait()
}
