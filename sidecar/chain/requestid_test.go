package chain

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/chain/chaintest"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

var memberID = regexp.MustCompile(`("request_id":|"X-Request-Id":\[)"[^"]*"`)

// withoutID returns a problem, or what an app saw, without the request's id.
func withoutID(text string) string { return memberID.ReplaceAllString(text, "") }

// buffer is a log for several goroutines.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) lines(t *testing.T) []map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var lines []map[string]any
	for line := range strings.Lines(b.buf.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, m)
	}
	return lines
}

// eventLog is a sink of all events.
type eventLog struct {
	mu     sync.Mutex
	events []event.Event
}

func (*eventLog) Kinds() event.Kinds {
	return event.Of(event.Request, event.AuthorizationRefused, event.RequestRefused)
}
func (s *eventLog) Record(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *eventLog) all() []event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// identified is a sidecar in front of an app that returns its own id, with what it logs, emits, and sends to the app.
type identified struct {
	url    string
	log    *buffer
	events *eventLog
	// toApp is the header of the last request.
	toApp http.Header
}

func identify(t *testing.T, change func(*compiled.Policy)) *identified {
	t.Helper()
	w := newWorld(t)
	i := &identified{log: &buffer{}, events: &eventLog{}}
	w.app.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		i.toApp = r.Header.Clone()
		rw.Header()["X-Request-Id"] = []string{"the-apps", "own"}
	})
	p := loginPolicy(func(p *compiled.Policy) {
		p.Sidecar.AccessLog = "All"
		p.Tokens, p.Sessions, p.Revocation = nil, nil, nil
		change(p)
	})
	w.log = slog.New(slog.NewJSONHandler(i.log, nil))
	s := w.sidecar(p)
	s.cfg.Sinks = []event.Sink{i.events}
	s.apply(p)
	i.url = s.url
	return i
}

// send returns the response, and its problem if it is one.
func (i *identified) send(t *testing.T, path string, header http.Header) (*http.Response, map[string]any) {
	t.Helper()
	i.toApp = nil
	r, err := http.NewRequest("GET", i.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var problem map[string]any
	_ = json.NewDecoder(res.Body).Decode(&problem)
	return res, problem
}

// TestRequestIDs: a request has one id in the app, in the response, in the access log and in events, which its client chooses only where
// the class says so.
func TestRequestIDs(t *testing.T) {
	from := func(source compiled.RequestIDSource, trusted ...string) func(*compiled.Policy) {
		return func(p *compiled.Policy) {
			p.Sidecar.RequestID = &compiled.RequestID{Header: "X-Request-ID", FromClients: source}
			p.Sidecar.TrustedProxies = trusted
		}
	}
	tests := map[string]struct {
		change   func(*compiled.Policy)
		wantKept bool
	}{
		"no section":               {change: func(*compiled.Policy) {}},
		"never":                    {change: from(compiled.RequestIDNever, "127.0.0.0/8", "::1/128")},
		"a trusted proxy":          {change: from(compiled.RequestIDTrustedProxies, "127.0.0.0/8", "::1/128"), wantKept: true},
		"a client of no proxy":     {change: from(compiled.RequestIDTrustedProxies)},
		"a client behind others":   {change: from(compiled.RequestIDTrustedProxies, "10.0.0.0/8")},
		"always":                   {change: from(compiled.RequestIDAlways), wantKept: true},
		"always, a deleted policy": {change: func(p *compiled.Policy) { from(compiled.RequestIDAlways)(p); p.Deleted = true }, wantKept: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			i := identify(t, tt.change)
			res, _ := i.send(t, "/public/x", http.Header{"X-Request-Id": {"mine"}, "X_request_id": {"other"}, "Connection": {"X-Request-ID"}})
			id := res.Header["X-Request-Id"]
			if len(id) != 1 || (id[0] == "mine") != tt.wantKept {
				t.Fatalf("the client got %q; want its own: %v", id, tt.wantKept)
			}
			if got := i.toApp["X-Request-Id"]; !slices.Equal(got, id) || i.toApp["X_request_id"] != nil {
				t.Errorf("the app got %v; want %q", i.toApp, id)
			}
			i.wantLogged(t, id[0])
		})
	}
}

func (i *identified) wantLogged(t *testing.T, id string) {
	t.Helper()
	lines, events := i.log.lines(t), i.events.all()
	if len(lines) == 0 || len(events) == 0 {
		t.Fatalf("%d lines and %d events", len(lines), len(events))
	}
	for _, line := range lines {
		if line["msg"] == "request" && line["request_id"] != id {
			t.Errorf("line %v; want the id %s", line, id)
		}
	}
	for _, e := range events {
		if e.RequestID != id {
			t.Errorf("event %s has the id %q; want %q", e.Kind, e.RequestID, id)
		}
	}
}

// TestRequestIDsOfRefusals: the problem document and the page for browsers have the id, whichever stage refuses.
func TestRequestIDsOfRefusals(t *testing.T) {
	for name, path := range map[string]string{"the guard": "/public/%2e%2e/x", "authorization": "/orders"} {
		t.Run(name, func(t *testing.T) {
			i := identify(t, func(*compiled.Policy) {})
			res, problem := i.send(t, path, http.Header{})
			id := res.Header.Get("X-Request-ID")
			if id == "" || problem["request_id"] != id || i.toApp != nil {
				t.Fatalf("response %v, problem %v", res.Header, problem)
			}
			i.wantLogged(t, id)
		})
	}
}

// TestRequestIDHeader: another header has the id, and X-Request-ID is then one like any other.
func TestRequestIDHeader(t *testing.T) {
	i := identify(t, func(p *compiled.Policy) {
		p.Sidecar.RequestID = &compiled.RequestID{Header: "X-Trace", FromClients: compiled.RequestIDAlways}
	})
	res, _ := i.send(t, "/public/x", http.Header{"X-Request-Id": {"a"}, "X-Trace": {"b"}, "X_trace": {"c"}, "Connection": {"x-trace"}})
	if i.toApp.Get("X-Request-ID") != "a" || !slices.Equal(i.toApp["X-Trace"], []string{"b"}) || i.toApp["X_trace"] != nil {
		t.Errorf("the app got %v", i.toApp)
	}
	if res.Header.Get("X-Trace") != "b" || !slices.Equal(res.Header["X-Request-Id"], []string{"the-apps", "own"}) {
		t.Errorf("the client got %v", res.Header)
	}
}

// TestRequestIDsInStages: the lines that stages log have the id.
func TestRequestIDsInStages(t *testing.T) {
	log := &buffer{}
	w := newWorld(t)
	w.log = slog.New(slog.NewJSONHandler(log, nil))
	w.app.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Length", "100")
		_, _ = rw.Write([]byte("short"))
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
		p.Sidecar.RequestID = &compiled.RequestID{Header: "X-Request-ID", FromClients: compiled.RequestIDAlways}
	}))
	if _, err := s.try(sent{method: "GET", path: "/public/x", header: http.Header{"X-Request-Id": {"mine"}}}); err == nil {
		t.Fatal("the response is complete")
	}
	for _, line := range log.lines(t) {
		if line["msg"] == "response aborted" && line["request_id"] == "mine" {
			return
		}
	}
	t.Errorf("no line of the proxy with the id: %v", log.lines(t))
}

// TestRequestIDAllocations: besides its string, an id costs nothing.
func TestRequestIDAllocations(t *testing.T) {
	cost := func(change func(*compiled.Policy)) float64 {
		w := newWorld(t)
		s := w.sidecar(loginPolicy(change))
		r := httptest.NewRequest("GET", "/orders", nil)
		rec := &discard{header: http.Header{}}
		return testing.AllocsPerRun(200, func() { s.snapshot.Load().ServeHTTP(rec, r) })
	}
	kept := func(p *compiled.Policy) {
		p.Sidecar.RequestID = &compiled.RequestID{Header: "X-Request-ID", FromClients: compiled.RequestIDAlways}
	}
	if made, keeps := cost(nil), cost(kept); made > keeps+chaintest.Dropped {
		t.Errorf("a made id takes %v allocations, a kept one %v", made, keeps)
	}
}

type discard struct{ header http.Header }

func (d *discard) Header() http.Header       { return d.header }
func (*discard) Write(p []byte) (int, error) { return len(p), nil }
func (*discard) WriteHeader(int)             {}
