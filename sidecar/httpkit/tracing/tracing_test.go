package tracing

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/span"
)

// TestOff: without a collector, tracing allocates nothing, in no step of a request.
func TestOff(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		q := New(Config{Trusted: func(*http.Request) bool { return trusted }, Policy: "shop/orders"})
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[traceparent] = []string{example}
		info, served := &request.Info{}, &event.Served{}
		n := testing.AllocsPerRun(100, func() {
			_, s := q.Begin(r, info)
			ctx, call := span.Start(r.Context(), "redis")
			call.End(ctx.Err())
			app, appCall := StartApp(r, 80)
			appCall.End(200, app == nil)
			q.End(s, info, served)
		})
		if n != 0 || r.Header.Get(traceparent) != example || (info.TraceID == exampleTrace) != trusted || info.Sampled != trusted {
			t.Errorf("trusted %v: %v allocations, %+v, %v", trusted, n, info, r.Header)
		}
	}
}
