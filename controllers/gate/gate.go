// Package gate bounds the memory that admission reviews in progress can take: the bodies of all reviews of a webhook together are
// bounded in bytes, before they are read. A review waits for others, in the order of arrival.
package gate

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
)

const (
	// MaxBody bounds one review, in bytes: the API server accepts objects of up to 3 MiB, and a review has at most two.
	MaxBody = 7 << 20
	// minWeight is what the smallest review counts as.
	minWeight = 16 << 10
	// patience bounds the wait for others, and then the time to read the body. It is shorter than the API server's timeout.
	patience = 5 * time.Second
)

// Gate counts the reviews that are refused.
type Gate struct {
	refused *prometheus.CounterVec
	wait    time.Duration
}

// Reasons in the metric's label.
const (
	reasonSize = "size"
	reasonBusy = "busy"
)

// New returns a gate and registers its metric.
func New(registerer prometheus.Registerer) (*Gate, error) {
	g := &Gate{wait: patience, refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postern_reviews_refused_total",
		Help: "Admission reviews that were refused before they were read, by reason: size (larger than 7 MiB, or of unknown size), busy (no room beside other reviews within 5 seconds).",
	}, []string{"reason"})}
	for _, reason := range []string{reasonSize, reasonBusy} {
		g.refused.WithLabelValues(reason)
	}
	return g, registerer.Register(g.refused)
}

// Wrap returns a handler that calls next when there is room for the request's body among the budget's bytes. It responds with 413
// to a body that is too large or of unknown size, and with 503 if there is no room in time. A body over the budget waits until it
// is alone.
func (g *Gate) Wrap(next http.Handler, budget int64) http.Handler {
	room := semaphore.NewWeighted(budget)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 || r.ContentLength > MaxBody {
			g.refuse(w, reasonSize, "postern: the admission review is too large, or has no Content-Length", http.StatusRequestEntityTooLarge)
			return
		}
		weight := min(max(r.ContentLength, minWeight), budget)
		ctx, cancel := context.WithTimeout(r.Context(), g.wait)
		defer cancel()
		if err := room.Acquire(ctx, weight); err != nil {
			g.refuse(w, reasonBusy, "postern: the operator is busy with other admission reviews: try again", http.StatusServiceUnavailable)
			return
		}
		defer room.Release(weight)
		// A client that sends its body slowly must not keep others out. (Not every ResponseWriter has deadlines.)
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(g.wait))
		next.ServeHTTP(w, r)
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	})
}

func (g *Gate) refuse(w http.ResponseWriter, reason, text string, status int) {
	g.refused.WithLabelValues(reason).Inc()
	http.Error(w, text, status)
}
