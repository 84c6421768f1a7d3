package chain

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// usersApp keeps users. Everything else is loginApp. It encodes what a client may get encoded, if it is asked to by ?encodes.
func usersApp(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/users" {
		loginApp(w, r)
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	created := `{"padding":"` + strings.Repeat("x", 4096) + `","id":"u-7"}`
	if r.URL.Query().Has("encodes") && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(http.StatusCreated)
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, created)
		_ = z.Close()
		return
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, created)
	if r.URL.Query().Has("broken") {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// auditedUsers is a sidecar that records what the app does to its users.
func auditedUsers(t *testing.T, trail *fullTrail, change func(*compiled.Policy)) (*sidecar, *events) {
	w := newWorld(t)
	w.app = httptest.NewServer(http.HandlerFunc(usersApp))
	t.Cleanup(w.app.Close)
	p := w.audited(func(p *compiled.Policy) {
		p.Audit.Lifecycle = []compiled.LifecycleRule{{
			Resource: "user", Action: compiled.LifecycleCreate, Match: []compiled.Match{{Methods: []string{"POST"}, Paths: []string{"/users"}}},
			ID: &compiled.ResourceID{ResponseJSON: "id"}, Changes: []string{"name", "email"}, Redact: []string{"email"},
		}}
		p.Compression = &compiled.Compression{MinSize: 1024}
		if change != nil {
			change(p)
		}
	})
	s, sink := w.sidecar(p).ready(), &events{}
	s.cfg.Sinks, s.cfg.Trail = []event.Sink{sink}, trail
	s.apply(p)
	sink.take()
	return s, sink
}

// fullTrail is an audit trail that says whether it is full.
type fullTrail struct{ full atomic.Bool }

func (f *fullTrail) Full() bool              { return f.full.Load() }
func (f *fullTrail) FullFor(netip.Addr) bool { return f.full.Load() }

// TestLifecycle: a user that the app has created is an event of the caller, with the app's own id, however the response is encoded on its way. Requests that do not
// reach the app have none.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	s, sink := auditedUsers(t, &fullTrail{}, nil)
	ada := s.login("ada")
	sink.take()
	const body = `{"name":"Grace","email":"grace@example.com"}`
	kind := http.Header{"Content-Type": {"application/json"}}
	encoded := http.Header{"Content-Type": {"application/json"}, "Accept-Encoding": {"gzip"}}
	for name, tt := range map[string]struct {
		path, bearer string
		header       http.Header
		want         int
		event        bool
	}{
		"created":                  {"/users", ada.access, kind, 201, true},
		"compressed by the chain":  {"/users", ada.access, encoded, 201, true},
		"compressed by the app":    {"/users?encodes", ada.access, encoded, 201, true},
		"without a token":          {"/users", "", kind, 401, false},
		"on another route":         {"/groups", ada.access, kind, 200, false},
		"ambiguous path of a user": {"/users;x", ada.access, kind, 400, false},
	} {
		g := s.send(sent{method: "POST", path: tt.path, bearer: tt.bearer, header: tt.header, body: body})
		var got []event.Event
		list, _ := sink.take()
		for _, e := range list {
			if e.Kind == event.Lifecycle {
				got = append(got, e)
			}
		}
		if g.status != tt.want || (len(got) == 1) != tt.event {
			t.Errorf("%s: %d, %d events", name, g.status, len(got))
			continue
		}
		if !tt.event {
			continue
		}
		changes, err := json.Marshal(got[0].Changes)
		if err != nil || string(changes) != `{"email":{"redacted":true},"name":{"after":"Grace"}}` {
			t.Errorf("%s: changes %s, %v", name, changes, err)
		}
		if e := got[0]; e.Subject != "ada" || e.Resource != (event.Resource{Kind: "user", ID: "u-7", Action: event.Create}) || !e.ClientAddr.IsLoopback() || e.Policy != "shop/orders" {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if _, err := s.try(sent{method: "POST", path: "/users?broken", bearer: ada.access, header: kind, body: body}); err == nil {
		t.Error("the response is not broken")
	}
	if list, names := sink.take(); len(list) != 2 || list[1].Kind != event.Lifecycle || list[1].Resource.ID != "u-7" {
		t.Errorf("a response that broke off has %v", names)
	}
}

// TestAppsEvents: the app adds events at the loopback API, which the trail may refuse, and what it does for an administrator is an event too.
func TestAppsEvents(t *testing.T) {
	t.Parallel()
	trail := &fullTrail{}
	s, sink := auditedUsers(t, trail, nil)
	const body = `{"action":"UPDATE","resource":{"kind":"user","id":"7"},"subject":"grace","performed_by":"ada","changes":{"role":{"before":"user","after":"admin"}}}`
	if g := s.loopback("POST", "/v1/audit", body); g.status != 202 {
		t.Fatalf("%d %s", g.status, g.text)
	}
	list, names := sink.take()
	if len(list) != 1 || list[0].Kind != event.Lifecycle || list[0].Subject != "grace" || list[0].PerformedBy != "ada" || list[0].Policy != "shop/orders" {
		t.Errorf("events %v", names)
	}
	trail.full.Store(true)
	if g := s.loopback("POST", "/v1/audit", body); g.status != 503 || g.header.Get("Retry-After") == "" {
		t.Errorf("a full trail: %d %s", g.status, g.text)
	}
	if _, names := sink.take(); len(names) > 0 {
		t.Errorf("a full trail took %v", names)
	}
	if g := s.loopback("DELETE", "/v1/subjects/grace/sessions", ""); g.status != 200 {
		t.Fatalf("%d %s", g.status, g.text)
	}
	if list, names := sink.take(); len(list) != 1 || list[0].Kind != event.Admin || list[0].Reason != "end_sessions" || list[0].Subject != "grace" {
		t.Errorf("events %v", names)
	}
}
