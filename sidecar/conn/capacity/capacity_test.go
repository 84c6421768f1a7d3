package capacity

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// harness is a Limiter with a clock, whose connections say when they were closed.
type harness struct {
	*Limiter
	t      *testing.T
	now    time.Time
	losses []Loss
	closed chan string
}

func start(t *testing.T, limits Limits, change ...func(*Config)) *harness {
	h := &harness{t: t, now: time.Unix(1000, 0), closed: make(chan string, 1000)}
	config := Config{Limits: limits, OnLoss: func(l Loss) { h.losses = append(h.losses, l) }, Now: func() time.Time { return h.now }}
	for _, c := range change {
		c(&config)
	}
	h.Limiter = New(config)
	return h
}

// open connects from an address, and a second passes.
func (h *harness) open(name, address string) *Place {
	h.t.Helper()
	p, reason := h.Admit(nil, netip.MustParseAddr(address), func() { h.closed <- name })
	if reason != "" {
		h.t.Fatalf("%s got no place: %s", name, reason)
	}
	h.now = h.now.Add(time.Second)
	return p
}

// idle connects and makes one request.
func (h *harness) idle(name, address string) *Place {
	h.t.Helper()
	p := h.open(name, address)
	p.Begin()
	p.End()
	p.Unused()
	h.now = h.now.Add(time.Second)
	return p
}

// expect waits for the connections that must close next, in any order.
func (h *harness) expect(names ...string) {
	h.t.Helper()
	var got []string
	for range names {
		select {
		case name := <-h.closed:
			got = append(got, name)
		case <-time.After(20 * time.Second):
			h.t.Fatalf("closed %v, want %v", got, names)
		}
	}
	slices.Sort(got)
	if slices.Sort(names); !slices.Equal(got, names) {
		h.t.Errorf("closed %v, want %v", got, names)
	}
	if len(h.closed) > 0 {
		h.t.Errorf("also closed %s", <-h.closed)
	}
}

func TestWhatClosesFirst(t *testing.T) {
	tests := map[string]struct {
		fill func(h *harness)
		want string
	}{
		"the oldest idle one": {func(h *harness) { h.idle("a", "10.0.0.1"); h.idle("b", "10.0.0.2"); h.idle("c", "10.0.0.3") }, "a"},
		"the one that is idle for longest": {func(h *harness) {
			a := h.idle("a", "10.0.0.1")
			h.idle("b", "10.0.0.2")
			h.idle("c", "10.0.0.3")
			a.Begin()
			a.End()
			a.Unused()
			h.now = h.now.Add(time.Second)
		}, "b"},
		"one without a request before an idle one": {func(h *harness) { h.idle("a", "10.0.0.1"); h.open("b", "10.0.0.2"); h.idle("c", "10.0.0.3") }, "b"},
		"an idle one before one that has just connected": {func(h *harness) {
			h.idle("a", "10.0.0.1")
			h.idle("b", "10.0.0.2")
			h.open("c", "10.0.0.3")
			h.now = h.now.Add(-time.Second)
		}, "a"},
		"of the source that has the most": {func(h *harness) { h.idle("a", "10.0.0.1"); h.idle("b", "10.0.0.2"); h.idle("c", "10.0.0.2") }, "b"},
		"none with a request":             {func(h *harness) { h.idle("a", "10.0.0.1").Begin(); h.idle("b", "10.0.0.2"); h.idle("c", "10.0.0.3") }, "b"},
		"none whose response is not sent": {func(h *harness) {
			p := h.idle("a", "10.0.0.1")
			p.Begin()
			p.End()
			h.idle("b", "10.0.0.2")
			h.idle("c", "10.0.0.3")
		}, "b"},
		"one whose response waits for long, before one that has just connected": {func(h *harness) {
			p := h.idle("a", "10.0.0.1")
			p.Begin()
			p.End()
			h.now = h.now.Add(time.Second)
			for _, name := range []string{"b", "c"} {
				h.open(name, "10.0.0.2")
				h.now = h.now.Add(-time.Second)
			}
		}, "a"},
		"trusted sources last":             {func(h *harness) { h.idle("a", "192.0.2.1"); h.idle("b", "192.0.2.1"); h.idle("c", "10.0.0.3") }, "c"},
		"trusted sources, if no other can": {func(h *harness) { h.idle("a", "192.0.2.1"); h.idle("b", "192.0.2.1"); h.idle("c", "10.0.0.3").Begin() }, "a"},
		"streams end one after the other": {func(h *harness) {
			p := h.idle("a", "10.0.0.1")
			p.Begin()
			p.Begin()
			p.End()
			h.idle("b", "10.0.0.2")
			h.idle("c", "10.0.0.3")
		}, "b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := start(t, Limits{Max: 3, MaxPerAddress: 3, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
			tt.fill(h)
			h.open("new", "10.9.9.9")
			h.expect(tt.want)
			if len(h.losses) != 1 || h.losses[0].Reason != Full || h.losses[0].Refused {
				t.Errorf("losses %+v", h.losses)
			}
		})
	}
}

// TestShare: a source at its share replaces its own connections, and nobody else's.
func TestShare(t *testing.T) {
	for name, tt := range map[string]struct {
		first, second string
		wantOne       bool
	}{
		"one IPv4 address":         {"10.0.0.1", "10.0.0.1", true},
		"the same, mapped to IPv6": {"10.0.0.1", "::ffff:10.0.0.1", true},
		"two IPv4 addresses":       {"10.0.0.1", "10.0.0.2", false},
		"one /64":                  {"2001:db8::1", "2001:db8::ffff:1", true},
		"two /64":                  {"2001:db8::1", "2001:db8:0:1::1", false},
		"one zone and another":     {"fe80::1%a", "fe80::2%b", true},
		"a trusted address":        {"192.0.2.1", "192.0.2.1", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, Limits{Max: 10, MaxPerAddress: 2, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
			h.idle("other", "203.0.113.1")
			h.idle("a", tt.first)
			h.idle("b", tt.second)
			h.open("c", tt.first)
			if !tt.wantOne {
				h.expect()
				return
			}
			h.expect("a")
			if h.losses[0].Reason != Share {
				t.Errorf("losses %+v", h.losses)
			}
		})
	}
}

// TestShareOfBusyConnections: a source with its share of requests in progress is refused, and others are not.
func TestShareOfBusyConnections(t *testing.T) {
	h := start(t, Limits{Max: 10, MaxPerAddress: 2})
	for range 2 {
		h.open("busy", "10.0.0.1").Begin()
	}
	if _, reason := h.Admit(nil, netip.MustParseAddr("10.0.0.1"), func() {}); reason != Share {
		t.Errorf("reason %q", reason)
	}
	h.open("other", "10.0.0.2")
	h.expect()
	if len(h.losses) != 1 || !h.losses[0].Refused {
		t.Errorf("losses %+v", h.losses)
	}
}

// TestFullOfRequests: a new connection waits until one can close or has ended, or until nobody waits for it.
func TestFullOfRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		free  func(p *Place, stop chan struct{})
		want  Reason
		close []string
	}{
		"it becomes idle":      {func(p *Place, _ chan struct{}) { p.End(); p.Unused() }, "", []string{"a"}},
		"it ends":              {func(p *Place, _ chan struct{}) { p.Done() }, "", nil},
		"the listener stopped": {func(_ *Place, stop chan struct{}) { close(stop) }, Stopped, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, Limits{Max: 1, MaxPerAddress: 1})
			p := h.open("a", "10.0.0.1")
			p.Begin()
			stop, got := make(chan struct{}), make(chan Reason)
			go func() {
				_, reason := h.Admit(stop, netip.MustParseAddr("10.0.0.2"), func() {})
				got <- reason
			}()
			tt.free(p, stop)
			if reason := <-got; reason != tt.want {
				t.Errorf("reason %q, want %q", reason, tt.want)
			}
			h.expect(tt.close...)
		})
	}
}

func TestCloseBusy(t *testing.T) {
	h := start(t, Limits{Max: 2, MaxPerAddress: 2}, func(c *Config) { c.CloseBusy = true })
	h.open("a", "10.0.0.1").Begin()
	h.open("b", "10.0.0.1").Begin()
	h.open("c", "10.0.0.2")
	h.expect("a")
	h.open("d", "10.0.0.1").Begin() // now there are b and c: c has sent nothing
	h.expect("c")
	h.open("e", "10.0.0.1")
	h.expect("b")
}

func TestSweep(t *testing.T) {
	h := start(t, Limits{Max: 10, MaxPerAddress: 10, IdleTimeout: time.Minute})
	h.idle("idle", "10.0.0.1")
	h.open("waiting", "10.0.0.2")
	h.open("busy", "10.0.0.3").Begin()
	said := make(chan string, 1)
	told := h.idle("told", "10.0.0.1")
	told.Farewell(func() { said <- "goodbye" })
	h.now = h.now.Add(30 * time.Second)
	h.idle("young", "10.0.0.4")
	h.Sweep()
	h.expect()
	h.now = h.now.Add(30 * time.Second)
	h.Sweep()
	h.expect("idle", "waiting")
	if got := <-said; got != "goodbye" {
		t.Error(got)
	}
	h.now = h.now.Add(farewellTime)
	h.Sweep()
	h.expect("told")
	for _, l := range h.losses {
		if l.Reason != Idle {
			t.Errorf("loss %+v", l)
		}
	}
	if n := h.Counts(); n[Busy] != 1 || n[Unused] != 1 || n[Waiting] != 0 {
		t.Errorf("counts %v", n)
	}
}

// TestFarewell: a connection that is closed for another one gets its farewell once, before it is closed.
func TestFarewell(t *testing.T) {
	h := start(t, Limits{Max: 1, MaxPerAddress: 1})
	for range 2 {
		h.idle("told", "10.0.0.1").Farewell(func() { h.closed <- "goodbye" })
		p := h.open("new", "10.0.0.2")
		for _, want := range []string{"goodbye", "told"} {
			if got := <-h.closed; got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		}
		p.Done()
	}
}

func TestConfigure(t *testing.T) {
	h := start(t, Limits{Max: 10, MaxPerAddress: 10})
	for i := range 4 {
		h.idle(fmt.Sprint("a", i), "192.0.2.1")
	}
	h.open("b", "10.0.0.1").Begin()
	h.open("c", "10.0.0.1").Begin()
	h.Configure(Limits{Max: 10, MaxPerAddress: 3})
	h.expect("a0")
	h.Configure(Limits{Max: 10, MaxPerAddress: 1, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	h.expect() // the requests of 10.0.0.1 are not cut
	h.Configure(Limits{Max: 3, MaxPerAddress: 1, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	h.expect("a1", "a2")
	h.Configure(Limits{})
	h.expect("a3")
	if n := h.Counts(); n[Busy] != 2 || n[Unused]+n[Waiting] != 0 {
		t.Errorf("counts %v", n)
	}
}

// TestLatePlaces: a place that was lost ignores what its connection reports later.
func TestLatePlaces(t *testing.T) {
	h := start(t, Limits{Max: 1, MaxPerAddress: 1})
	p := h.idle("a", "10.0.0.1")
	h.open("b", "10.0.0.2")
	h.expect("a")
	p.Begin()
	p.End()
	p.Unused()
	p.Done()
	p.Done()
	if n := h.Counts(); n[Waiting] != 1 || n[Busy]+n[Unused]+n[Finishing] != 0 {
		t.Errorf("counts %v", n)
	}
}

// request is what a request does to its place.
func request(p *Place) {
	p.Begin()
	p.End()
	p.Unused()
}

func TestRequestsAllocateNothing(t *testing.T) {
	p := start(t, Limits{Max: 10, MaxPerAddress: 10}).open("a", "10.0.0.1")
	if n := testing.AllocsPerRun(100, func() { request(p) }); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	l := New(Config{Limits: Limits{Max: 1000, MaxPerAddress: 1000}})
	p, _ := l.Admit(nil, netip.MustParseAddr("10.0.0.1"), func() {})
	b.ReportAllocs()
	for b.Loop() {
		request(p)
	}
}

// FuzzLimiter: after any sequence of events the limits hold, and every connection is counted once.
func FuzzLimiter(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 0, 8, 16, 24, 1, 9, 2, 10, 7})
	f.Fuzz(func(t *testing.T, events []byte) {
		h := start(t, Limits{Max: 5, MaxPerAddress: 3, IdleTimeout: 3 * time.Second})
		h.closed = make(chan string, len(events)+1)
		stop := make(chan struct{})
		close(stop)
		var places []*Place
		for i, e := range events {
			address := netip.AddrFrom4([4]byte{10, 0, 0, e >> 3 & 3})
			var p *Place
			if len(places) > 0 {
				p = places[int(e>>3)%len(places)]
			}
			switch e & 7 {
			case 0, 1:
				if p, reason := h.Admit(stop, address, func() { h.closed <- "" }); reason == "" {
					places = append(places, p)
				}
			case 2:
				if p != nil {
					p.Begin()
				}
			case 3:
				if p != nil && p.open > 0 {
					p.End()
				}
			case 4:
				if p != nil {
					p.Unused()
				}
			case 5:
				if p != nil {
					p.Done()
				}
			case 6:
				h.Configure(Limits{Max: 5, MaxPerAddress: 3, IdleTimeout: 3 * time.Second, Trusted: []netip.Prefix{netip.PrefixFrom(address, 30+i%3)}})
			default:
				h.Sweep()
			}
			h.now = h.now.Add(time.Second)
			h.verify(places)
		}
	})
}

// verify compares the accounts and rankings with the places.
func (h *harness) verify(places []*Place) {
	h.t.Helper()
	want, total := map[State]int{}, 0
	for _, p := range places {
		if !p.gone {
			want[p.state]++
			total++
		}
	}
	got := h.Counts()
	for state := range states {
		if got[state] != want[state] {
			h.t.Fatalf("%v %s, want %v", got, state, want)
		}
	}
	if total != h.total || total > h.limits.Max {
		h.t.Fatalf("%d places, counted %d, at most %d", total, h.total, h.limits.Max)
	}
	for key, a := range h.sources {
		n := 0
		for i := range a.places {
			n += a.places[i].n
		}
		if n == 0 || n != h.shares.Of(key) {
			h.t.Fatalf("%v has %d connections, counted %d", key, n, h.shares.Of(key))
		}
	}
	if h.shares.Holders() != len(h.sources) {
		h.t.Fatalf("%d sources, counted %d", len(h.sources), h.shares.Holders())
	}
}
