package trail

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

func refused(addr string) *event.Event {
	return &event.Event{Kind: event.TokenRefused, Outcome: event.Refused, Reason: "expired", Time: time.Unix(1, 0), ClientAddr: netip.MustParseAddr(addr)}
}

// TestCrowded: while only half of the spool is left, no public event has a record of its own.
func TestCrowded(t *testing.T) {
	f := newFlood()
	for range 3 {
		if f.admit(refused("192.0.2.1"), true) {
			t.Error("admitted")
		}
	}
	if all := f.summaries(false); len(all) != 1 || all[0].count != 3 || !f.admit(refused("192.0.2.1"), false) {
		t.Errorf("%+v", all)
	}
}

// TestSources: the address and the reason tell sources apart, and the addresses of one host do not.
func TestSources(t *testing.T) {
	f := newFlood()
	for range floodBurst {
		f.admit(refused("2001:db8::1"), false)
	}
	other := refused("2001:db8::1")
	other.Reason = "unknown-key"
	for _, tt := range []struct {
		name  string
		event *event.Event
		want  bool
	}{{"the same", refused("2001:db8::1"), false}, {"its /64", refused("2001:db8::2"), false}, {"another", refused("2001:db8:1::1"), true}, {"another reason", other, true}} {
		if got := f.admit(tt.event, false); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
	if all := f.summaries(false); len(all) != 1 || all[0].count != 2 || all[0].event.ClientAddr != netip.MustParseAddr("2001:db8::") {
		t.Errorf("%+v", all)
	}
}

// TestSummariesAccuseNobody: a record that stands for several events names only what they have in common. One address can have many users behind it, and one client
// can name many accounts.
func TestSummariesAccuseNobody(t *testing.T) {
	f := newFlood()
	for n := range floodBurst + 20 {
		e := refused("192.0.2.1")
		e.Provider, e.Subject, e.Session, e.TokenID, e.KeyID = "corp", fmt.Sprint("user", n), fmt.Sprint(n), fmt.Sprint(n), fmt.Sprint(n)
		e.Account, e.PerformedBy, e.RequestID, e.TraceID, e.UserAgent = fmt.Sprint("user", n), fmt.Sprint(n), fmt.Sprint(n), fmt.Sprint(n), fmt.Sprint(n)
		f.admit(e, false)
	}
	all := f.summaries(false)
	if len(all) != 1 || all[0].count != 20 {
		t.Fatalf("%+v", all)
	}
	want := refused("192.0.2.1")
	want.Provider = "corp"
	if *all[0].event != *want {
		t.Errorf("%+v; want %+v", *all[0].event, *want)
	}
}

// TestCrowdedSummaries: many addresses cannot fill the rest of the spool with summaries.
func TestCrowdedSummaries(t *testing.T) {
	f := newFlood()
	for i := range 2 * floodSources {
		e := refused("192.0.2.1")
		e.ClientAddr = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		e.Time = time.Unix(int64(i), 0)
		if i%4 == 0 {
			e.Outcome = event.Shadow
		}
		f.admit(e, true)
	}
	all := f.summaries(true)
	if len(all) != 2 || all[0].count+all[1].count != 2*floodSources {
		t.Fatalf("%+v", all)
	}
	if e := all[1].event; e.ClientAddr.IsValid() || e.Outcome != event.Refused || all[1].count != 1536 || e.Time != time.Unix(1, 0) {
		t.Errorf("%+v, %d", e, all[1].count)
	}
}
