package resources

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestUntrustedProxies(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1000, 0)
	u := &untrustedProxies{now: func() time.Time { return now }, logger: slog.New(slog.NewTextHandler(&log, nil))}
	if p, ok := u.problem(); ok {
		t.Fatalf("a problem before any request: %+v", p)
	}
	for i := range 3 {
		u.see(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
	}
	p, ok := u.problem()
	if !ok || p.Kind != "ClientAddress" || p.Reason != "UntrustedProxy" || !strings.Contains(p.Message, "192.0.2.0 sends") {
		t.Errorf("problem %+v, %v", p, ok)
	}
	now = now.Add(proxyMemory)
	u.see(netip.MustParseAddr("192.0.2.9"))
	now = now.Add(proxyMemory)
	if p, ok = u.problem(); !ok || !strings.Contains(p.Message, "192.0.2.9 sends") {
		t.Errorf("problem %+v, %v; want the later peer", p, ok)
	}
	now = now.Add(time.Second)
	if p, ok = u.problem(); ok {
		t.Errorf("a problem an hour after the last request: %+v", p)
	}
	u.see(netip.MustParseAddr("192.0.2.9"))
	if n := strings.Count(log.String(), "not a trusted proxy"); n != 2 {
		t.Errorf("%d lines in the log; want one at the first request, and one an hour after the last: %s", n, log.String())
	}
}
