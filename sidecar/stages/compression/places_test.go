package compression

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// TestPlaces: more responses than there are places are not compressed, and a place is free again when its response is complete, has
// failed, or was cut off by a panic.
func TestPlaces(t *testing.T) {
	places, err := NewPlaces(0, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	places.free.Store(1)
	s, err := New(Config{Places: places})
	if err != nil {
		t.Fatal(err)
	}
	serve := func(inside func()) (coding string) {
		h := s(stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("Content-Type", "text/plain")
			if _, err := w.Write([]byte(strings.Repeat("a", 1000))); err != nil {
				return err
			}
			inside()
			return nil
		}))
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("Accept-Encoding", "gzip")
		defer func() {
			_ = recover()
			coding = w.Header().Get("Content-Encoding")
			if w.Header().Get("Vary") != "Accept-Encoding" || coding == "" && w.Body.Len() != 1000 {
				t.Errorf("%v, %d bytes", w.Header(), w.Body.Len())
			}
		}()
		if err := h.ServeHTTP(w, r); err != nil {
			t.Error(err)
		}
		return
	}
	for range 3 {
		if got := serve(func() {
			if got := serve(func() {}); got != "" {
				t.Errorf("a second response at once has the coding %q", got)
			}
		}); got != "gzip" {
			t.Errorf("the coding is %q", got)
		}
		if got := serve(func() { panic(http.ErrAbortHandler) }); got != "gzip" {
			t.Errorf("before a panic the coding is %q", got)
		}
	}
	if got := testutil.ToFloat64(places.skipped); got != 3 {
		t.Errorf("%v are counted", got)
	}
}

// TestPlacesFollowMemory: a flood of compressed responses that nobody reads does not kill the pod.
func TestPlacesFollowMemory(t *testing.T) {
	for memory, want := range map[int64]int64{math.MaxInt64: maxEncoders, 23 << 20: 23, 1 << 20: minEncoders} {
		places, err := NewPlaces(memory, prometheus.NewRegistry())
		if err != nil || places.free.Load() != want {
			t.Errorf("%d bytes: %d places, %v; want %d", memory, places.free.Load(), err, want)
		}
	}
}
