package trail

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// TestClientsShareTheRest: a client with a credential cannot fill the spool. Its requests are refused before those of others.
func TestClientsShareTheRest(t *testing.T) {
	f := newFixture(t, 64<<10)
	f.sink.set(true)
	trail := f.open()
	cheap, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	n := 0
	for ; !trail.FullFor(cheap); n++ {
		if n == 10_000 {
			t.Fatal("one client fills the spool")
		}
		e := login(n)
		e.ClientAddr = cheap
		before, _ := f.spool.Usage()
		trail.Record(e)
		eventually(t, "a change of the spool", func() bool { used, _ := f.spool.Usage(); return used > before || trail.Full() })
	}
	if used, limit := f.spool.Usage(); trail.Full() || trail.FullFor(other) || trail.FullFor(netip.Addr{}) || used > limit*7/8 {
		t.Errorf("full: %t, for another client: %t, %d of %d bytes", trail.Full(), trail.FullFor(other), used, limit)
	}
	f.sink.set(false)
	eventually(t, "a change of the spool", func() bool { return !trail.FullFor(cheap) })
	f.close(trail)
	if got := len(f.sink.kept(t)); got != n {
		t.Errorf("%d records; want %d", got, n)
	}
}

// TestSharesAreBounded: the clients that are told apart are bounded, and the others have one share together.
func TestSharesAreBounded(t *testing.T) {
	var s shares
	for n := range 3 * maxShares {
		s.use(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}), 10)
	}
	if len(s.used) > maxShares+1 || !s.exceed(netip.MustParseAddr("203.0.113.9"), 10*shareOf) || s.exceed(netip.MustParseAddr("10.0.0.1"), 11*shareOf) {
		t.Errorf("%d shares", len(s.used))
	}
}

// TestLateEvents: an event that comes after the end of a trail is recorded by its heir, or is counted.
func TestLateEvents(t *testing.T) {
	f, later := newFixture(t, 1<<20), newFixture(t, 1<<20)
	heir := later.open()
	f.change = func(c *Config) { c.Heir = func() *Trail { return heir } }
	trail := f.open()
	trail.Record(login(1))
	f.close(trail)
	trail.Record(login(2))
	later.close(heir)
	heir.Record(login(3)) // has no heir itself
	if got := later.sink.kept(t); len(f.sink.kept(t)) != 1 || len(got) != 1 || got[0].Subject != "user2" {
		t.Errorf("%d records, inherited %+v", len(f.sink.kept(t)), got)
	}
	if got := later.counter("postern_audit_dropped_total"); got != 1 || !strings.Contains(later.log.String(), "after the end of the trail") {
		t.Errorf("%v dropped: %s", got, later.log)
	}
}

// TestNoKeysUntilTheEnd: events that wait for keys at the end of the process are counted.
func TestNoKeysUntilTheEnd(t *testing.T) {
	f := newFixture(t, 1<<20)
	f.change = func(c *Config) { c.Keys = func(context.Context) (Keys, error) { return Keys{}, errors.New("away") } }
	trail := f.open()
	for n := range 3 {
		trail.Record(login(n))
	}
	for range floodBurst + 2 {
		trail.Record(*refused("192.0.2.1"))
	}
	f.close(trail)
	if got := f.counter("postern_audit_dropped_total"); got != 3+floodBurst+2 {
		t.Errorf("%v dropped", got)
	}
}

// TestFloodsDoNotFillTheSpool: of events that anybody can cause, not even the summaries get the last quarter.
func TestFloodsDoNotFillTheSpool(t *testing.T) {
	f := newFixture(t, 8<<10)
	f.sink.set(true)
	trail := f.open()
	for n := 0; !trail.scarce(); n++ {
		before, _ := f.spool.Usage()
		trail.Record(login(n))
		eventually(t, "a change of the spool", func() bool { used, _ := f.spool.Usage(); return used > before })
	}
	before, _ := f.spool.Usage()
	for n := range 100 {
		trail.Record(*refused(fmt.Sprint("192.0.2.", n)))
	}
	trail.summarise()
	if used, _ := f.spool.Usage(); used != before {
		t.Errorf("%d bytes after a flood; want %d", used, before)
	}
	f.sink.set(false)
	f.close(trail)
	total := uint64(0)
	for _, r := range f.sink.kept(t) {
		if r.Action == "token_refused" {
			total += max(r.Count, 1)
		}
	}
	if total != 100 {
		t.Errorf("%d events are in the trail; want 100", total)
	}
}
