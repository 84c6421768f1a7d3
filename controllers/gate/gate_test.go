package gate

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func newGate(t *testing.T) *Gate {
	t.Helper()
	g, err := New(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestBytesInProgress checks that many large reviews never are in progress together.
func TestBytesInProgress(t *testing.T) {
	const budget, size, reviews = 3 << 20, 1 << 20, 60
	g := newGate(t)
	var held, most atomic.Int64
	handler := g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		n := held.Add(r.ContentLength)
		defer held.Add(-r.ContentLength)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}), budget)
	var wg sync.WaitGroup
	var served atomic.Int64
	for range reviews {
		wg.Go(func() {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, size))))
			if w.Code == http.StatusOK {
				served.Add(1)
			}
		})
	}
	wg.Wait()
	if most.Load() > budget || served.Load() != reviews {
		t.Errorf("%d bytes were in progress at once, want at most %d; %d of %d were served", most.Load(), budget, served.Load(), reviews)
	}
}

func TestRefusals(t *testing.T) {
	unknown := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(bytes.NewReader(nil)))
	unknown.ContentLength = -1
	for name, tc := range map[string]struct {
		request    *http.Request
		wantStatus int
		wantReason string
	}{
		"of unknown size": {unknown, http.StatusRequestEntityTooLarge, reasonSize},
		"too large":       {httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, MaxBody+1))), http.StatusRequestEntityTooLarge, reasonSize},
		"no room":         {httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, 10))), http.StatusServiceUnavailable, reasonBusy},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(t)
			g.wait = time.Millisecond
			entered, leave := make(chan struct{}), make(chan struct{})
			handler := g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave }), minWeight)
			var wg sync.WaitGroup
			wg.Go(func() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(make([]byte, 10))))
			})
			<-entered
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, tc.request)
			close(leave)
			wg.Wait()
			if w.Code != tc.wantStatus || testutil.ToFloat64(g.refused.WithLabelValues(tc.wantReason)) != 1 {
				t.Errorf("got %d: %s", w.Code, w.Body)
			}
		})
	}
}
