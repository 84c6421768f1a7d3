package differential

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain"
	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	sidecar "github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/upstream"
	"github.com/posterndev/postern/test/differential/stdproxy"
)

// document returns a policy without sections.
func document() *compiled.Policy {
	return &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAnonymous, Mode: compiled.Enforce},
		Sidecar:       compiled.SidecarOptions{AccessLog: "None", LogLevel: "error", DrainTimeout: compiled.Duration(time.Second)},
	}
}

// noSections is the name of the document without sections.
const noSections = "no sections"

// documents are the policies with which every case runs.
func documents() map[string]*compiled.Policy {
	sections := document()
	sections.Headers = &compiled.Headers{Preset: "Strict"}
	sections.CORS = &compiled.CORS{AllowOrigins: []string{"https://shop.example"}}
	sections.Authorization.Rules = []compiled.AuthorizationRule{
		{Name: "denied", Match: []compiled.Match{{Paths: []string{"/denied", "/denied/**"}}}, Require: compiled.RequireDeny, Mode: compiled.Enforce},
	}
	return map[string]*compiled.Policy{noSections: document(), "sections": sections}
}

// A world is an app behind both proxies, for each of the documents. One case at a time runs in it.
type world struct {
	*network
	app    *app
	direct *direct
	// paths are the proxies by the document's name.
	paths map[string]proxies
}

// proxies are the addresses of the two proxies that enforce a document.
type proxies struct{ old, new string }

// newWorld starts everything. It ends with the test.
func newWorld(tb testing.TB) *world {
	tb.Helper()
	tb.Cleanup(func() { time.Sleep(time.Minute) }) // what was closed before this ends by itself
	w := &world{network: newNetwork(tb), paths: map[string]proxies{}}
	w.app, w.direct = newApp(tb, w.network), newDirect(tb, w.network)
	for name, document := range documents() {
		w.paths[name] = proxies{old: w.startOld(tb, document), new: w.startNew(tb, document)}
	}
	return w
}

func (w *world) startOld(tb testing.TB, document *compiled.Policy) (addr string) {
	tb.Helper()
	l := w.listen()
	old, err := stdproxy.Start(stdproxy.Config{Document: document, Listener: l, App: w.app.addr, Dial: w.dial})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(old.Close)
	return l.addr.String()
}

// startNew starts the sidecar's request path, as package server does.
func (w *world) startNew(tb testing.TB, document *compiled.Policy) (addr string) {
	tb.Helper()
	l, logger := w.listen(), slog.New(slog.DiscardHandler)
	shared, err := resources.New(resources.Config{Registerer: prometheus.NewRegistry(), Logger: logger, SecretsDir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	proxy, err := upstream.New(upstream.Config{Target: func(netip.AddrPort) string { return w.app.addr }, DialContext: w.dial, Logger: logger})
	if err != nil {
		tb.Fatal(err)
	}
	local := netip.MustParseAddrPort(l.addr.String())
	snapshot, err := chain.Build(document, chain.Config{
		Resources: shared, App: proxy, Local: func(context.Context) netip.AddrPort { return local }, OnlyPort: local.Port(), Logger: logger,
	})
	if err != nil {
		tb.Fatal(err)
	}
	snapshot.Activate()
	engine, err := http1.New(http1.Config{
		Handler: stdproxy.WithUpgrades(snapshot), Limits: http1.Limits{HeadBytes: 64 << 10}, Logger: logger,
		MinRate: func() int { return compiled.DefaultMinBodyRate },
		Respond: func(w http.ResponseWriter, r *http.Request, why *httperr.Error) {
			snapshot.ServeHTTP(w, sidecar.Refuse(r, &sidecar.Refusal{Stage: "framing", Err: why}))
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	go func() { _ = engine.Serve(l) }() // Close ends it
	tb.Cleanup(func() {
		_ = l.Close()
		_ = engine.Close()
		proxy.Close()
		snapshot.Close()
		shared.Close()
	})
	return l.addr.String()
}

// try runs a case at the proxy at addr.
func (w *world) try(addr string, c *testCase) *outcome {
	w.app.begin(c.replies)
	out := w.run(addr, c)
	seen, ok := w.app.end()
	out.seen, out.stuck = slices.Clone(seen), !ok
	out.canary = w.askCanary(addr)
	out.normalise()
	return out
}

// requestID is one that the sidecar generates.
var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// normalise removes what differs each time.
func (o *outcome) normalise() {
	for i := range o.responses {
		r := &o.responses[i]
		for j, f := range r.fields {
			r.fields[j] = normal(f)
		}
		if strings.Contains(r.body, `"request_id":`) || strings.HasPrefix(r.body, "<!doctype html>") {
			r.body = requestID.ReplaceAllString(r.body, "")
		}
	}
	for i := range o.seen {
		r := &o.seen[i]
		if strings.Contains(r.sent, "X-Request-Id") {
			r.sent = requestID.ReplaceAllString(r.sent, "")
		}
		for _, value := range r.header["X-Request-Id"] {
			r.header["X-Request-Id"] = []string{requestID.ReplaceAllString(value, "")}
		}
	}
}

// normal returns a field line without what differs each time.
func normal(line string) string {
	switch {
	case strings.HasPrefix(line, "X-Request-Id: "):
		return requestID.ReplaceAllString(line, "")
	case strings.HasPrefix(line, "Date: ") && strings.Contains(line, " 2000 "): // the bubble's year
		return "Date: now"
	}
	return line
}

// TestMain silences the standard library: it logs each response that nobody asked for.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}
