package server

import (
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/conn/capacity"
)

// lossInterval is the shortest time between two log lines about lost connections.
const lossInterval = 10 * time.Second

// losses counts connections that were closed because of limits, and logs them in at most one line per interval.
type losses struct {
	closed *prometheus.CounterVec
	logger *slog.Logger

	mu     sync.Mutex
	logged time.Time
	// pending are the losses since the last line, by reason. last is the peer of the last one.
	pending map[string]int
	last    netip.Addr
}

func newLosses(r prometheus.Registerer, logger *slog.Logger) (*losses, error) {
	l := &losses{logger: logger, pending: map[string]int{}, closed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_connections_closed_total",
		Help: "Connections without a request in progress that were closed, by the limit that was reached (max, address, idle) and by their state (waiting, idle, finishing).",
	}, []string{"reason", "state"})}
	for _, reason := range []capacity.Reason{capacity.Full, capacity.Share, capacity.Idle} {
		for _, state := range []capacity.State{capacity.Waiting, capacity.Unused, capacity.Finishing} {
			l.closed.WithLabelValues(string(reason), state.String()) // so that increase() counts the first one
		}
	}
	return l, r.Register(l.closed)
}

// add counts a loss. Connections that got no place are counted as refused, and those that were idle for too long are
// normal and not logged.
func (l *losses) add(loss capacity.Loss) {
	if !loss.Refused {
		l.closed.WithLabelValues(string(loss.Reason), loss.State.String()).Inc()
	}
	if loss.Reason == capacity.Idle {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	reason := string(loss.Reason)
	if loss.Refused {
		reason += "-refused"
	}
	l.pending[reason]++
	l.last = loss.Peer
}

// log writes what has been lost since the last line, unless that is too recent.
func (l *losses) log(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 || now.Sub(l.logged) < lossInterval {
		return
	}
	attrs := []any{"lastPeer", l.last.String()}
	for _, reason := range slices.SortedFunc(maps.Keys(l.pending), strings.Compare) {
		attrs = append(attrs, reason, l.pending[reason])
	}
	l.logger.Warn("connections closed or refused because there are too many", attrs...)
	l.logged = now
	clear(l.pending)
}

// registerConnections shows the number of connections in each state, and their limit.
func registerConnections(r prometheus.Registerer, c *connections) error {
	const name = "postern_connections"
	for _, state := range []capacity.State{capacity.Waiting, capacity.Unused, capacity.Finishing, capacity.Busy} {
		g := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name, Help: "Open connections of clients: waiting for the first request, idle between requests, finishing a response, or busy.",
			ConstLabels: prometheus.Labels{"state": state.String()},
		}, func() float64 { return float64(c.Counts()[state]) })
		if err := r.Register(g); err != nil {
			return err
		}
	}
	return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: name + "_max", Help: "The maximum number of connections of clients.",
	}, func() float64 { return float64(c.Limits().Max) }))
}
