package secure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/keys/certificate"
	"github.com/posterndev/postern/test/servertest"
)

// waitLimit bounds every wait. A machine that also runs other tests is slow.
const waitLimit = 30 * time.Second

// held is a certificate that a test replaces.
type held struct {
	mu     sync.Mutex
	c      *certificate.Certificate
	unique bool
}

var errAbsent = errors.New("absent")

func (h *held) Current() (*certificate.Certificate, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.c == nil {
		return nil, errAbsent
	}
	return h.c, nil
}

func (h *held) Err() error             { return nil }
func (h *held) Name() string           { return "test" }
func (h *held) Shared() bool           { return !h.unique }
func (h *held) Tried() <-chan struct{} { return nil }

func (h *held) set(c *certificate.Certificate) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.c = c
}

// file is a file; nil is one that is not available.
type file[F any] struct{ f *F }

func (f *file[F]) File() (*F, error) {
	if f.f == nil {
		return nil, errAbsent
	}
	return f.f, nil
}

// world is an authority with what tests make of it.
type world struct {
	t         *testing.T
	authority *servertest.Authority
}

func newWorld(t *testing.T) *world {
	t.Helper()
	a, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, a}
}

// certificate returns a certificate for names.
func (w *world) certificate(names ...string) *certificate.Certificate {
	w.t.Helper()
	return w.parse(w.authority.Issue(names[0], func(c *x509.Certificate) { c.DNSNames = names }))
}

func (w *world) parse(chain, key []byte, err error) *certificate.Certificate {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := certificate.Parse(chain, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// settings are those of a client that trusts the authority.
func (w *world) settings() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.authority.Certificate)
	return &tls.Config{RootCAs: pool, ServerName: "a.example.com"}
}

// endpoint serves a Server's connections. Each gets what was agreed on, and then what it sends.
type endpoint struct {
	*Server
	addr    string
	metrics *Metrics
	// time bounds a handshake, in nanoseconds.
	time atomic.Int64
	mu   sync.Mutex
	errs []error
}

func (w *world) serve(cfg Config) *endpoint {
	w.t.Helper()
	if cfg.Tickets == nil {
		cfg.Tickets = NewTickets()
	}
	if len(cfg.Certificates) == 0 {
		cfg.Certificates = []certificate.Held{&held{c: w.certificate("a.example.com")}}
	}
	e := &endpoint{}
	e.time.Store(int64(waitLimit))
	var err error
	if e.metrics, err = NewMetrics(prometheus.NewRegistry()); err != nil {
		w.t.Fatal(err)
	}
	cfg.Metrics = e.metrics
	if e.Server, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	e.addr = l.Addr().String()
	var work sync.WaitGroup
	w.t.Cleanup(func() { l.Close(); work.Wait() })
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { e.one(conn) })
		}
	})
	return e
}

func (e *endpoint) one(conn net.Conn) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(e.time.Load()))
	defer cancel()
	above, protocol, err := e.Handshake(ctx, conn, netip.AddrPort{})
	if err != nil {
		e.mu.Lock()
		e.errs = append(e.errs, err)
		e.mu.Unlock()
		_ = conn.(*net.TCPConn).SetLinger(0) // package listen resets it
		return
	}
	defer above.Close()
	_ = above.SetDeadline(time.Now().Add(waitLimit))
	if s := Of(above); s != nil {
		fmt.Fprintf(above, "%s %q %v\n", tls.VersionName(s.Version), protocol, s.DidResume)
	} else {
		fmt.Fprintf(above, "plain %q\n", protocol)
	}
	_, _ = io.Copy(above, above)
}

// refused waits until n handshakes were refused for the reason.
func (e *endpoint) refused(t *testing.T, reason Reason, n int) {
	t.Helper()
	counter := e.metrics.refusals.WithLabelValues(string(reason))
	for deadline := time.Now().Add(waitLimit); int(testutil.ToFloat64(counter)) != n; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.mu.Lock()
			defer e.mu.Unlock()
			t.Fatalf("%v handshakes were refused for %s, want %d; errors: %q", testutil.ToFloat64(counter), reason, n, e.errs)
		}
	}
}

// hello returns the first line that a client gets, or the error of its handshake.
func (e *endpoint) hello(t *testing.T, settings *tls.Config) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	c := tls.Client(conn, settings)
	if err := c.Handshake(); err != nil {
		return "", err
	}
	return line(c)
}

func line(r io.Reader) (string, error) {
	var text []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, b); err != nil {
			return string(text), err
		}
		if b[0] == '\n' {
			return string(text), nil
		}
		text = append(text, b[0])
	}
}
