package differential

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/server"
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

// documents are the policies with which every case runs.
func documents() map[string]*compiled.Policy {
	sections := document()
	sections.Headers = &compiled.Headers{Preset: "Strict"}
	sections.CORS = &compiled.CORS{AllowOrigins: []string{"https://shop.example"}}
	sections.Authorization.Rules = []compiled.AuthorizationRule{
		{Name: "denied", Match: []compiled.Match{{Paths: []string{"/denied", "/denied/**"}}}, Require: compiled.RequireDeny, Mode: compiled.Enforce},
	}
	return map[string]*compiled.Policy{"no sections": document(), "sections": sections}
}

// A world is an app behind both proxies. One case at a time runs in it.
type world struct {
	app      *app
	old, new string
}

// newWorld starts the proxies. They end with the test.
func newWorld(tb testing.TB, document *compiled.Policy) *world {
	tb.Helper()
	w := &world{app: newApp(tb)}
	old, err := stdproxy.Start(document, w.app.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(old.Close)
	w.old, w.new = old.Addr, startSidecar(tb, document, w.app.addr)
	return w
}

// startSidecar starts the sidecar in front of app, until the test ends.
func startSidecar(tb testing.TB, document *compiled.Policy, app string) (addr string) {
	tb.Helper()
	started, done := make(chan netip.AddrPort, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	dir := tb.TempDir()
	go func() {
		done <- server.Standalone{
			Document: document, Upstream: &url.URL{Scheme: "http", Host: app}, Listen: "127.0.0.1:0", SecretsDir: dir, Level: &slog.LevelVar{},
			Logger: slog.New(slog.DiscardHandler), Started: func(a netip.AddrPort) { started <- a },
		}.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done // an error says that connections were open at the end
	})
	select {
	case a := <-started:
		return a.String()
	case err := <-done:
		done <- err
		tb.Fatal(err)
	}
	return ""
}

// try runs a case at addr.
func (w *world) try(addr string, c *testCase) *outcome {
	w.app.script(c.replies)
	out := run(addr, c)
	// The standard library notices by itself that the app has closed a connection, and closes it; the sidecar does so when it would use it.
	seen, ok := w.app.settle(addr == w.old)
	if addr == w.new {
		time.Sleep(settling(c))
	}
	out.seen, out.stuck = append(out.seen, seen...), !ok
	out.canary = askCanary(addr)
	out.normalise()
	if slices.ContainsFunc(c.replies, func(r reply) bool { return r.early }) {
		// Whether the rest of the body still reaches the app, and whether the client's connection is kept, depends on the time.
		out.seen = nil
		if out.fate == "kept" || out.fate == "closed" {
			out.fate = "kept or closed"
		}
	}
	return out
}

// settling is how long the sidecar has to receive the end of a connection that the app has closed.
func settling(c *testCase) time.Duration {
	for _, r := range c.replies {
		if r.then != kept || r.unread {
			return 2 * time.Millisecond
		}
	}
	return 0
}

// volatile are parts of messages that differ from one time to the next.
var volatile = regexp.MustCompile(`(?m)^(?:>? *)(Date|X-Request-Id|Traceparent): .*$|[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// normalise removes what differs each time.
func (o *outcome) normalise() {
	for i := range o.responses {
		r := &o.responses[i]
		for j, f := range r.fields {
			r.fields[j] = volatile.ReplaceAllString(f, "$1")
		}
		r.body = volatile.ReplaceAllString(r.body, "$1")
	}
	for i, s := range o.seen {
		o.seen[i] = volatile.ReplaceAllString(s, "$1")
	}
}

// TestMain silences the standard library: it logs each response that nobody asked for.
func TestMain(m *testing.M) {
	log.SetOutput(io.Discard)
	os.Exit(m.Run())
}
