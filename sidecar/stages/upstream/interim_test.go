package upstream

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// stuckWriter is that of a client that reads nothing.
type stuckWriter struct {
	response.Writer
	stuck chan struct{}
	reads chan struct{}
	sent  *atomic.Int32
}

func (w *stuckWriter) WriteHeader(status int) {
	if status == http.StatusEarlyHints {
		select {
		case w.stuck <- struct{}{}:
		default:
		}
		<-w.reads
		w.sent.Add(1)
	}
	w.Writer.WriteHeader(status)
}

// TestInformationalResponsesStopNoOtherRequest: the requests to an HTTP/2 app share a connection. A client that does not read its informational
// responses does not stop the others, and gets at most maxInterims of those that it has not read.
func TestInformationalResponsesStopNoOtherRequest(t *testing.T) {
	stuck, reads, sent := make(chan struct{}, 1), make(chan struct{}), &atomic.Int32{}
	const hints = maxInterims + 50
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		for range hints {
			if r.URL.Path == "/hints" {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}
		w.Header().Set("X-Final", "yes")
		_, _ = io.WriteString(w, "done")
	}, func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if r.URL.Path == "/hints" {
				w = &stuckWriter{response.Writer{ResponseWriter: w}, stuck, reads, sent}
			}
			return next.ServeHTTP(w, r)
		})
	})
	first := make(chan *http.Response, 1)
	go func() {
		res, err := client(t, 2).Do(request1(t, http.MethodGet, "http://"+d.addr+"/hints", nil))
		if err != nil {
			t.Error(err)
		}
		first <- res
	}()
	<-stuck
	res, body := do(t, client(t, 2), request1(t, http.MethodGet, "http://"+d.addr+"/", nil))
	if res.StatusCode != http.StatusOK || body != "done" {
		t.Errorf("the other request: %d %q", res.StatusCode, body)
	}
	close(reads)
	if res := <-first; res != nil {
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != "done" || res.Header.Get("X-Final") != "yes" {
			t.Errorf("%q, %v", b, err)
		}
	}
	if n := sent.Load(); n < 1 || n > maxInterims+1 {
		t.Errorf("%d informational responses were sent", n)
	}
}
