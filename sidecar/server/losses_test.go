package server

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/conn/capacity"
)

// TestLossesAreLoggedRarely: a flood is one line in each interval, with the number by reason. Idle timeouts are not logged.
func TestLossesAreLoggedRarely(t *testing.T) {
	out := &strings.Builder{}
	l, err := newLosses(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	peer, now := netip.MustParseAddr("10.0.0.1"), time.Unix(1000, 0)
	lose := func(n int, loss capacity.Loss) {
		for range n {
			loss.Peer = peer
			l.add(loss)
		}
	}
	lose(100, capacity.Loss{Reason: capacity.Idle, State: capacity.Unused})
	l.log(now)
	if out.Len() > 0 {
		t.Errorf("logged %s", out)
	}
	lose(1000, capacity.Loss{Reason: capacity.Full, State: capacity.Waiting})
	lose(10, capacity.Loss{Reason: capacity.Share, Refused: true})
	for range 10 { // within one interval
		l.log(now)
		lose(1, capacity.Loss{Reason: capacity.Share, State: capacity.Unused})
		now = now.Add(time.Millisecond)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "lastPeer=10.0.0.1 address-refused=10 max=1000") {
		t.Errorf("logged %s", got)
	}
	l.log(now.Add(lossInterval))
	if got := out.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "lastPeer=10.0.0.1 address=10\n") {
		t.Errorf("logged %s", got)
	}
	for labels, want := range map[[2]string]float64{{"idle", "idle"}: 100, {"max", "waiting"}: 1000, {"address", "idle"}: 10} {
		if got := testutil.ToFloat64(l.closed.WithLabelValues(labels[:]...)); got != want {
			t.Errorf("%v: %v, want %v", labels, got, want)
		}
	}
}
