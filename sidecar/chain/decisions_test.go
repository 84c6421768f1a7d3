package chain

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/sidecar/chain/chaintest"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/resources"
)

// mostAllocations is what a warm request may need from the request's parsed head to the app, and from the app's head to the client. It only
// ever becomes less.
func mostAllocations() map[string]float64 {
	return map[string]float64{chaintest.NoSections: 2, chaintest.Token: 4, chaintest.EverythingInMemory: 6}
}

// BenchmarkDecisions is what the sidecar itself does for a warm request, without its connections and the parsing of heads.
func BenchmarkDecisions(b *testing.B) {
	for _, name := range chaintest.Names() {
		b.Run(name, func(b *testing.B) {
			e := newExchange(b, name)
			b.ReportAllocs()
			for b.Loop() {
				e.serve()
			}
			e.check(b)
		})
	}
}

// BenchmarkDecisionsParallel shows what requests on several cores wait for.
func BenchmarkDecisionsParallel(b *testing.B) {
	first := newExchange(b, chaintest.EverythingInMemory)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		e := newSlot(first.handler, first.credentials)
		e.serve()
		for pb.Next() {
			e.serve()
		}
		e.check(b)
	})
}

// TestDecisionsAllocate: no change adds an allocation to the warm path unseen.
func TestDecisionsAllocate(t *testing.T) {
	for name, most := range mostAllocations() {
		t.Run(name, func(t *testing.T) {
			e := newExchange(t, name)
			got := chaintest.Allocations(e.serve)
			e.check(t)
			if got > most+chaintest.Dropped {
				t.Errorf("a warm request needs %v allocations; want at most %v", got, most)
			}
		})
	}
}

// exchange serves the same request again and again, with the reused parts that a connection has for its requests.
type exchange struct {
	handler     http.Handler
	credentials []string
	r, blank    *http.Request
	url         url.URL
	header      http.Header
	w           reusedWriter
	ctx         slots
	local       netip.AddrPort
}

func newExchange(t testing.TB, name string) *exchange {
	t.Helper()
	p, authorization := chaintest.Policy(t, name)
	shared, err := resources.New(resources.Config{Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler), SecretsDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shared.Close)
	snapshot, err := Build(p, Config{
		Resources: shared, App: stage.Func(constantApp), OnlyPort: 8080, Logger: slog.New(slog.NewJSONHandler(io.Discard, nil)),
		Local: func(ctx context.Context) netip.AddrPort {
			local, _ := ctx.Value(localKey{}).(*netip.AddrPort)
			return *local
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(snapshot.Close)
	snapshot.Activate()
	e := newSlot(snapshot, []string{authorization})
	e.serve() // verifies the token, and makes the series of the metrics
	e.check(t)
	return e
}

// newSlot returns the reused parts of one connection.
func newSlot(handler http.Handler, credentials []string) *exchange {
	e := &exchange{handler: handler, credentials: credentials, local: netip.MustParseAddrPort("192.0.2.80:8080"), r: &http.Request{}}
	e.header, e.w.header = http.Header{}, http.Header{}
	e.ctx.reset()
	e.ctx.local = &e.local
	e.blank = e.r.WithContext(&e.ctx)
	return e
}

// What a browser's script sends, and what the app answers.
var (
	sentAccept    = []string{"application/json"}
	sentAgent     = []string{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
	sentOrigin    = []string{"https://app.example.com"}
	sentLanguages = []string{"en"}
	appType       = []string{"application/json"}
	appLength     = []string{"1024"}
	appDate       = []string{"Sun, 29 Nov 2026 12:00:00 GMT"}
	appBody       = make([]byte, 1024)
)

func constantApp(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h["Content-Type"], h["Content-Length"], h["Date"] = appType, appLength, appDate
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(appBody)
	return err
}

// serve is one request, as the server's leg begins and ends it.
func (e *exchange) serve() {
	clear(e.header)
	e.header["Accept"], e.header["User-Agent"], e.header["Origin"], e.header["Accept-Language"] = sentAccept, sentAgent, sentOrigin, sentLanguages
	e.header["Authorization"] = e.credentials
	e.url = url.URL{Path: "/orders/17"}
	e.ctx.reset()
	*e.r = *e.blank
	e.r.Method, e.r.URL, e.r.Proto, e.r.ProtoMajor, e.r.ProtoMinor = http.MethodGet, &e.url, "HTTP/1.1", 1, 1
	e.r.Header, e.r.Body, e.r.Host, e.r.RemoteAddr, e.r.RequestURI = e.header, http.NoBody, "orders.shop.svc", "192.0.2.1:40000", "/orders/17"
	clear(e.w.header)
	e.w.status, e.w.bytes = 0, 0
	e.handler.ServeHTTP(&e.w, e.r)
}

// check fails the test if the last request did not reach the app and come back.
func (e *exchange) check(t testing.TB) {
	t.Helper()
	if e.w.status != http.StatusOK || e.w.bytes != len(appBody) {
		t.Fatalf("status %d with %d bytes, header %v", e.w.status, e.w.bytes, e.w.header)
	}
}

// reusedWriter is a ResponseWriter whose header is reused, as that of the server's leg.
type reusedWriter struct {
	header        http.Header
	status, bytes int
}

func (w *reusedWriter) Header() http.Header    { return w.header }
func (w *reusedWriter) WriteHeader(status int) { w.status = status }
func (w *reusedWriter) Write(p []byte) (int, error) {
	w.bytes += len(p)
	return len(p), nil
}

// slots is the context of a connection's requests, which knows the connection's address.
type slots struct {
	request.Slots
	local *netip.AddrPort
}

type localKey struct{}

func (s *slots) reset() { s.Slots = request.Slots{Context: context.Background()} }

// Value implements context.Context.
func (s *slots) Value(key any) any {
	if key == (localKey{}) {
		return s.local
	}
	return s.Slots.Value(key)
}
