package chain

import (
	"net/http"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// TestUpstreamProtocolOfADocument: the document's protocol reaches the proxy.
func TestUpstreamProtocolOfADocument(t *testing.T) {
	w := newWorld(t)
	w.app.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { rw.Header().Set("X-Proto", r.Proto) })
	for protocol, want := range map[compiled.UpstreamProtocol]int{"": 200, compiled.UpstreamHTTP1: 200, compiled.UpstreamH2C: 502} { // the app speaks HTTP/1.1 alone
		s := w.in(t).sidecar(loginPolicy(func(p *compiled.Policy) { p.UpstreamProtocol = protocol })).ready()
		if got := s.raw("GET /public/x HTTP/1.1").status; got != want {
			t.Errorf("%q: status %d; want %d", protocol, got, want)
		}
	}
}
