package secure

import (
	"crypto/tls"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/certificate"
)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// visit connects to addr with the client's sessions, and reports whether a session was resumed. It waits for the ticket of the next one.
func visit(t *testing.T, addr string, settings *tls.Config) bool {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, settings)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	if _, err := line(conn); err != nil { // in TLS 1.3 the ticket comes before it
		t.Fatal(err)
	}
	return conn.ConnectionState().DidResume
}

// TestTickets: a session goes on at another replica with TLS 1.3 if both have the same certificate and policy, and never if a ticket would stand for
// a client's certificate.
func TestTickets(t *testing.T) {
	w := newWorld(t)
	shared, other := w.certificate("a.example.com"), w.certificate("a.example.com")
	config := func(c *certificate.Certificate, change func(*Config)) Config {
		cfg := Config{Certificates: []certificate.Held{&held{c: c}}, Scope: "shop/orders", Tickets: NewTickets()}
		if change != nil {
			change(&cfg)
		}
		return cfg
	}
	unique := func(c *Config) { c.Certificates[0].(*held).unique = true }
	clients := func(c *Config) { c.Clients = w.clients(nil) }
	tests := map[string]struct {
		first, second Config
		version       uint16
		// wantSame and wantOther say whether a session is resumed at the same replica, and at another one.
		wantSame, wantOther bool
	}{
		"TLS 1.3":               {config(shared, nil), config(shared, nil), tls.VersionTLS13, true, true},
		"another certificate":   {config(shared, nil), config(other, nil), tls.VersionTLS13, true, false},
		"another policy":        {config(shared, nil), config(shared, func(c *Config) { c.Scope = "shop/admin" }), tls.VersionTLS13, true, false},
		"one of its own":        {config(shared, unique), config(shared, unique), tls.VersionTLS13, true, false},
		"TLS 1.2":               {config(shared, nil), config(shared, nil), tls.VersionTLS12, true, false},
		"client certificates":   {config(shared, clients), config(shared, clients), tls.VersionTLS13, false, false},
		"clients and TLS 1.2":   {config(shared, clients), config(shared, clients), tls.VersionTLS12, false, false},
		"clients at the second": {config(shared, nil), config(shared, clients), tls.VersionTLS13, true, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{t, w.authority}
			first, second := w.serve(tt.first), w.serve(tt.second)
			settings := w.settings()
			settings.MaxVersion, settings.ClientSessionCache = tt.version, tls.NewLRUClientSessionCache(8)
			if visit(t, first.addr, settings) {
				t.Fatal("the first visit resumes a session")
			}
			if got := visit(t, first.addr, settings); got != tt.wantSame {
				t.Errorf("at the same replica it is resumed: %t", got)
			}
			settings.ClientSessionCache = tls.NewLRUClientSessionCache(8)
			visit(t, first.addr, settings)
			if got := visit(t, second.addr, settings); got != tt.wantOther {
				t.Errorf("at another replica it is resumed: %t", got)
			}
		})
	}
}

// TestTicketsEnd: a ticket is good in its epoch and the next one, also where clocks differ.
func TestTicketsEnd(t *testing.T) {
	start := time.Now().Truncate(epochLength).Add(epochLength / 2)
	tests := map[string]struct {
		version uint16
		after   time.Duration
		want    bool
	}{
		"in its epoch":           {tls.VersionTLS13, time.Hour, true},
		"in the next one":        {tls.VersionTLS13, epochLength, true},
		"two later":              {tls.VersionTLS13, 2 * epochLength, false},
		"at a replica behind":    {tls.VersionTLS13, -epochLength, true},
		"TLS 1.2":                {tls.VersionTLS12, time.Hour, true},
		"TLS 1.2, the next one":  {tls.VersionTLS12, epochLength, true},
		"TLS 1.2, two later":     {tls.VersionTLS12, 2 * epochLength, false},
		"TLS 1.2, several later": {tls.VersionTLS12, 5 * epochLength, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			now := &clock{now: start}
			cfg := Config{Now: now.Now, Certificates: []certificate.Held{&held{c: w.longLived("a.example.com")}}}
			e := w.serve(cfg)
			settings := w.settings()
			settings.InsecureSkipVerify = true // the authority is valid for an hour
			settings.MaxVersion, settings.ClientSessionCache = tt.version, tls.NewLRUClientSessionCache(8)
			visit(t, e.addr, settings)
			now.set(start.Add(tt.after))
			if got := visit(t, e.addr, settings); got != tt.want {
				t.Errorf("resumed: %t", got)
			}
		})
	}
}

// TestTicketKeys: each scope and epoch has a key of its own, and all replicas have the same.
func TestTicketKeys(t *testing.T) {
	w := newWorld(t)
	seed, now := w.certificate("a").TicketSeed(), time.Unix(1800000000, 0)
	keys := func(scope string, at time.Time) []ticketKey {
		k, err := sharedKeys(seed, scope, at)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first, again, next := keys("a", now), keys("a", now), keys("a", now.Add(epochLength))
	if !slices.Equal(first, again) {
		t.Error("two replicas have different keys")
	}
	if next[0] == first[0] || next[1] != first[0] || next[0] != first[2] {
		t.Error("the keys of the next epoch do not follow")
	}
	if slices.Contains(keys("b", now), first[0]) {
		t.Error("two policies have a key in common")
	}
	local := NewTickets()
	one, _ := local.local("a", now)
	two, _ := local.local("a", now.Add(epochLength))
	if one[0] == two[0] || two[1] != one[0] || slices.Contains(two, ticketKey{}) {
		t.Error("local keys do not follow")
	}
	if other, _ := NewTickets().local("a", now); other[0] == one[0] {
		t.Error("two processes have the same key")
	}
}

// TestConcurrentRotation: handshakes during rotations succeed. It is for the race detector.
func TestConcurrentRotation(t *testing.T) {
	w := newWorld(t)
	h := &held{c: w.certificate("a.example.com")}
	now := &clock{now: time.Now()}
	e := w.serve(Config{Certificates: []certificate.Held{h}, Now: now.Now})
	var work sync.WaitGroup
	for range 4 {
		settings := w.settings()
		settings.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		work.Go(func() {
			for range 20 {
				conn, err := tls.DialWithDialer(&net.Dialer{Timeout: waitLimit}, "tcp", e.addr, settings)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = line(conn)
				conn.Close()
			}
		})
	}
	for i := range 20 {
		h.set(w.certificate("a.example.com"))
		now.set(time.Now().Add(time.Duration(i) * time.Second))
	}
	work.Wait()
}
