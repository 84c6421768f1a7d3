package signing

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// start is the initial time of the test clock.
var start = time.Unix(1_800_000_000, 0)

type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: start} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// history is a secret whose versions the test sets.
type history struct {
	mu       sync.Mutex
	contents []secret.Version
	err      error
	reads    int
}

func (h *history) History(context.Context) ([]secret.Version, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads++
	return h.contents, h.err
}

func (h *history) set(err error, contents ...secret.Version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.contents, h.err = contents, err
}

func content(b []byte) secret.Version { return secret.Version{Value: secret.New(b)} }

// registry is a Registry in memory.
type registry struct {
	mu     sync.Mutex
	now    func() time.Time
	dates  map[string]time.Time
	claims map[string]bool
	err    error
}

func newRegistry(c *clock) *registry {
	return &registry{now: c.now, dates: map[string]time.Time{}, claims: map[string]bool{}}
}

func (r *registry) Since(_ context.Context, believed map[string]time.Time) (map[string]time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	out := map[string]time.Time{}
	for id, at := range believed {
		if _, ok := r.dates[id]; !ok {
			if at.IsZero() {
				at = r.now()
			}
			r.dates[id] = at
		}
		out[id] = r.dates[id]
	}
	return out, nil
}

func (r *registry) Claim(_ context.Context, name string, _ time.Duration) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	mine := !r.claims[name]
	r.claims[name] = true
	return mine, r.err
}

func (r *registry) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.dates)
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rsaKey is generated once, because generating RSA keys is slow.
var rsaKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func testRSA(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	k, err := rsaKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// jwk encodes a private key as JWK.
func jwk(t testing.TB, key any, more map[string]any) map[string]any {
	t.Helper()
	members := map[string]any{}
	var public crypto.PublicKey
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		public, members["d"] = k.Public(), b64.EncodeToString(d)
	case ed25519.PrivateKey:
		public, members["d"] = k.Public(), b64.EncodeToString(k.Seed())
	case *rsa.PrivateKey:
		public = k.Public()
		for name, n := range map[string]*big.Int{"d": k.D, "p": k.Primes[0], "q": k.Primes[1]} {
			members[name] = b64.EncodeToString(n.Bytes())
		}
	case []byte:
		members["kty"], members["k"] = "oct", b64.EncodeToString(k)
	}
	if public != nil {
		open, err := publicJWK(public)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range open {
			members[name] = v
		}
	}
	for name, v := range more {
		members[name] = v
	}
	return members
}

func set(t testing.TB, keys ...map[string]any) []byte {
	t.Helper()
	return encode(t, map[string]any{"keys": keys})
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var errUnavailable = errors.New("vault is sealed")

const (
	overlap  = 10 * time.Minute
	lifetime = 15 * time.Minute
)

func newRing(t testing.TB, c *clock, source Source, change func(*Config)) *Ring {
	t.Helper()
	cfg := Config{Source: source, Algorithm: ES256, Overlap: overlap, Lifetime: lifetime, Now: c.now, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	r, err := NewRing(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func refresh(t testing.TB, rings ...*Ring) {
	t.Helper()
	for _, r := range rings {
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func current(t testing.TB, r *Ring) string {
	t.Helper()
	s, err := r.Current()
	if err != nil {
		t.Fatal(err)
	}
	return s.KeyID()
}

// verify signs with the ring's current key and checks the signature with its published keys.
func verify(t testing.TB, signer Signer, verifier *Ring) error {
	t.Helper()
	sig, err := signer.Sign(t.Context(), []byte("header.claims"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := verifier.Lookup(t.Context(), signer.KeyID(), string(signer.Algorithm()))
	if err != nil {
		return err
	}
	return keys[0].Verify("header.claims", sig)
}
