package server

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/conn/budget"
)

// TestWhoWasRefused: the log names the client, if it is known.
func TestWhoWasRefused(t *testing.T) {
	for want, client := range map[string]netip.Prefix{"client=203.0.113.9/32 ": netip.MustParsePrefix("203.0.113.9/32"), "client=unknown ": {}} {
		var log bytes.Buffer
		o, err := newOverload(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		if o.refused(budgetRequests, budget.Full, client); !strings.Contains(log.String(), want) {
			t.Errorf("the log has %s; want %s", log.String(), want)
		}
	}
}
