package certificate

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/keys/secret"
	"github.com/posterndev/postern/test/servertest"
)

// waitLimit bounds every wait. A machine that also runs other tests is slow.
const waitLimit = 30 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func newAuthority(t testing.TB) *servertest.Authority {
	t.Helper()
	a, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t testing.TB, a *servertest.Authority, change func(*x509.Certificate)) (chain, key []byte) {
	t.Helper()
	chain, key, err := a.Issue("orders", change)
	if err != nil {
		t.Fatal(err)
	}
	return chain, key
}

// weak returns a certificate with a small RSA key.
func weak(t *testing.T) (chain, private []byte) {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func TestParse(t *testing.T) {
	a := newAuthority(t)
	chain, key := issue(t, a, nil)
	_, foreign := issue(t, a, nil)
	lines := func(parts ...[]byte) []byte { return bytes.Join(parts, []byte("\n")) }
	small, smallKey := weak(t)
	tests := map[string]struct {
		chain, key []byte
		// wantErr is a part of the error; empty if there is none.
		wantErr string
		wantLen int
	}{
		"chain and key":         {chain: lines(chain, a.Certificate), key: key, wantLen: 2},
		"text between":          {chain: lines([]byte("subject=orders"), chain), key: lines([]byte("# key"), key), wantLen: 1},
		"the key of another":    {chain: chain, key: foreign, wantErr: "does not match"},
		"the wrong order":       {chain: lines(a.Certificate, chain), key: key, wantErr: "does not match"},
		"no key":                {chain: chain, wantErr: "failed to find any PEM data in key"},
		"no certificate":        {key: key, wantErr: "failed to find any PEM data in certificate"},
		"no PEM":                {chain: []byte("x"), key: key, wantErr: "failed to find any PEM data in certificate"},
		"switched":              {chain: key, key: chain, wantErr: "may have been switched"},
		"nothing":               {wantErr: "failed to find"},
		"a small RSA key":       {chain: small, key: smallKey, wantErr: "1024 bits"},
		"a broken intermediate": {chain: lines(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), key: key, wantErr: "certificate 2 of the chain"},
		"too many":              {chain: lines(append([][]byte{chain}, repeat(a.Certificate, maxChain)...)...), key: key, wantErr: "at most 16"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Parse(tt.chain, tt.key)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("%v; want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || c.Len() != tt.wantLen || c.Leaf.Subject.CommonName != "orders" || c.TicketSeed().IsZero() {
				t.Errorf("%v, %v", c, err)
			}
		})
	}
}

func repeat(b []byte, n int) (all [][]byte) {
	for range n {
		all = append(all, b)
	}
	return all
}

// TestTicketSeed: it depends on the key alone, and is no part of it.
func TestTicketSeed(t *testing.T) {
	a := newAuthority(t)
	chain, key := issue(t, a, nil)
	one, err := Parse(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Parse(append(append([]byte(nil), chain...), a.Certificate...), key)
	other, _ := Parse(issue(t, a, nil))
	if !one.TicketSeed().Equal(again.TicketSeed()) || one.TicketSeed().Equal(other.TicketSeed()) {
		t.Error("the seed does not follow from the key")
	}
	block, _ := pem.Decode(key)
	if bytes.Contains(block.Bytes, one.TicketSeed().Reveal()) {
		t.Error("the seed is a part of the key")
	}
}

func TestCheckKey(t *testing.T) {
	if err := checkKey(&x509.Certificate{PublicKey: &ecdh.PublicKey{}}); err == nil {
		t.Error("a key that signs nothing is accepted")
	}
	for _, curve := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkKey(&x509.Certificate{PublicKey: key.Public()}); (err == nil) != (curve != elliptic.P224()) {
			t.Errorf("%s: %v", curve.Params().Name, err)
		}
	}
}

// TestStore: a certificate is replaced when both files have changed, and the last good one stays in use until then.
func TestStore(t *testing.T) {
	a, dir := newAuthority(t), t.TempDir()
	write := func(chain, key []byte) {
		t.Helper()
		for name, content := range map[string][]byte{"tls.crt": chain, "tls.key": key} {
			if content == nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var s *Store
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry, func() []Held { return []Held{s} })
	if err != nil {
		t.Fatal(err)
	}
	s = OpenStore("secret/orders-tls", secret.File(filepath.Join(dir, "tls.crt")), secret.File(filepath.Join(dir, "tls.key")),
		Options{Logger: slog.New(slog.DiscardHandler), Metrics: metrics, Interval: 2 * time.Millisecond})
	defer s.Close()
	<-s.Tried()
	if _, err := s.Current(); err == nil || !s.Shared() || s.Name() != "secret/orders-tls" {
		t.Fatalf("a certificate without files, %v", err)
	}
	chain, key := issue(t, a, nil)
	write(chain, key)
	eventually(t, "the certificate", func() bool { c, _ := s.Current(); return c != nil })
	first, _ := s.Current()
	chain, key = issue(t, a, nil)
	write(chain, nil)
	eventually(t, "the mismatch", func() bool { return s.Err() != nil })
	if c, err := s.Current(); c != first || err != nil {
		t.Error("the last good certificate is not kept")
	}
	if n := testutil.ToFloat64(metrics.rotations.WithLabelValues(s.Name())); n != 0 {
		t.Errorf("%v rotations before the first", n)
	}
	write(nil, key)
	eventually(t, "the next certificate", func() bool { c, _ := s.Current(); return c != first && s.Err() == nil })
	eventually(t, "the count", func() bool { return testutil.ToFloat64(metrics.rotations.WithLabelValues(s.Name())) == 1 })
	if err := os.Remove(filepath.Join(dir, "tls.crt")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the absence", func() bool { return s.Err() != nil })
	if _, err := s.Current(); err != nil {
		t.Error("a certificate that was removed is not kept")
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 4 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}

// issuer issues certificates of an authority for ttl, or fails.
type issuer struct {
	mu        sync.Mutex
	authority *servertest.Authority
	now       func() time.Time
	ttl       time.Duration
	err       error
	asked     int
}

func (i *issuer) Issue(context.Context) (tls.Certificate, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	if i.err != nil {
		return tls.Certificate{}, i.err
	}
	chain, key, err := i.authority.Issue("orders", func(c *x509.Certificate) { c.NotBefore, c.NotAfter = i.now(), i.now().Add(i.ttl) })
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(chain, key)
}

func (i *issuer) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

// fakeClock moves when Issued waits. Each wait is sent to waits, and ends when the test receives it.
type fakeClock struct {
	mu    sync.Mutex
	at    time.Time
	waits chan time.Duration
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *fakeClock) sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case c.waits <- d:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	return true
}

// TestIssued: a certificate is renewed at two thirds of its lifetime, and while that fails the last one is kept and the issuer is asked ever less often.
func TestIssued(t *testing.T) {
	clock := &fakeClock{at: time.Now().Truncate(time.Second), waits: make(chan time.Duration)}
	source := &issuer{authority: newAuthority(t), now: clock.now, ttl: 24 * time.Hour}
	source.fail(errors.New("sealed"))
	i := Issue("pki/shop", source, Options{Logger: slog.New(slog.DiscardHandler), Now: clock.now, Sleep: clock.sleep})
	defer i.Close()
	next := func() time.Duration {
		t.Helper()
		select {
		case d := <-clock.waits:
			return d
		case <-time.After(waitLimit):
			t.Fatal("timed out waiting for the next attempt")
			return 0
		}
	}
	<-i.Tried()
	if _, err := i.Current(); err == nil || !strings.Contains(err.Error(), "sealed") || i.Shared() {
		t.Fatalf("a certificate that was not issued: %v", err)
	}
	source.fail(nil) // the attempt after the wait succeeds
	if d := next(); d > firstRetry {
		t.Errorf("the second attempt is after %s", d)
	}
	eventually(t, "a certificate", func() bool { c, _ := i.Current(); return c != nil && i.Err() == nil })
	first, _ := i.Current()
	source.fail(errors.New("unreachable"))
	renewedAt := next()
	if least, most := 14*time.Hour, 16*time.Hour; renewedAt < least || renewedAt > most {
		t.Errorf("renewed after %s, not between %s and %s", renewedAt, least, most)
	}
	var last time.Duration
	for range 10 {
		last = next()
	}
	if last < lastRetry/2 || last > lastRetry {
		t.Errorf("after many failures the next attempt is after %s", last)
	}
	if c, err := i.Current(); c != first || err != nil || i.Err() == nil {
		t.Errorf("the last certificate is not kept: %v, %v", err, i.Err())
	}
	source.fail(nil)
	next()
	eventually(t, "the renewal", func() bool { c, _ := i.Current(); return c != first && i.Err() == nil })
}

// TestIssuedExpired: a certificate that has expired by the sidecar's clock is refused, and asking for it is bounded.
func TestIssuedExpired(t *testing.T) {
	clock := &fakeClock{at: time.Now(), waits: make(chan time.Duration)}
	source := &issuer{authority: newAuthority(t), now: func() time.Time { return clock.now().Add(-2 * time.Hour) }, ttl: time.Hour}
	i := Issue("pki/shop", source, Options{Logger: slog.New(slog.DiscardHandler), Now: clock.now, Sleep: clock.sleep})
	defer i.Close()
	<-i.Tried()
	if _, err := i.Current(); err == nil || !strings.Contains(err.Error(), "compare the clocks") {
		t.Errorf("%v", err)
	}
}

func TestRenewal(t *testing.T) {
	start := time.Unix(1800000000, 0)
	for name, tt := range map[string]struct{ lifetime, age, least, most time.Duration }{
		"a day":             {24 * time.Hour, 0, 14 * time.Hour, 16 * time.Hour},
		"a day, backdated":  {24 * time.Hour, time.Hour, 13 * time.Hour, 15 * time.Hour},
		"half a minute":     {30 * time.Second, 0, minRenewal, minRenewal},
		"almost at its end": {time.Hour, 59 * time.Minute, minRenewal, minRenewal},
	} {
		c := &Certificate{Certificate: tls.Certificate{Leaf: &x509.Certificate{NotBefore: start, NotAfter: start.Add(tt.lifetime)}}}
		for range 50 {
			if got := renewal(c, start.Add(tt.age)); got < tt.least || got > tt.most {
				t.Errorf("%s: %s; want between %s and %s", name, got, tt.least, tt.most)
			}
		}
	}
}

func TestExpiring(t *testing.T) {
	start := time.Unix(1800000000, 0)
	c := &Certificate{Certificate: tls.Certificate{Leaf: &x509.Certificate{NotBefore: start, NotAfter: start.Add(100 * time.Hour)}}}
	for after, want := range map[time.Duration]bool{-time.Hour: false, 0: false, 79 * time.Hour: false, 81 * time.Hour: true, 101 * time.Hour: true} {
		if got := Expiring(c, start.Add(after)); got != want {
			t.Errorf("after %s: %t", after, got)
		}
	}
}
