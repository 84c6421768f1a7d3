package chain

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// eagerApp changes a user as soon as it has a JSON object, as apps do that decode the body as a stream, and responds later.
type eagerApp struct {
	done  atomic.Int64
	delay time.Duration
}

func (a *eagerApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/users/") {
		loginApp(w, r)
		return
	}
	var in map[string]any
	if json.NewDecoder(r.Body).Decode(&in) == nil {
		a.done.Add(1)
	}
	time.Sleep(a.delay)
	w.WriteHeader(http.StatusNoContent)
}

// TestNothingIsDoneUnseen: what the app does has a record, however the client ends its request.
func TestNothingIsDoneUnseen(t *testing.T) {
	t.Parallel()
	app := &eagerApp{delay: 300 * time.Millisecond}
	w := newWorld(t)
	w.app = httptest.NewServer(app)
	t.Cleanup(w.app.Close)
	id := 1
	p := w.audited(func(p *compiled.Policy) {
		p.Audit.Lifecycle = []compiled.LifecycleRule{{
			Resource: "user", Action: compiled.LifecycleUpdate, Match: []compiled.Match{{Methods: []string{"PATCH"}, Paths: []string{"/users/*"}}},
			ID: &compiled.ResourceID{Segment: &id}, Changes: []string{"role"},
		}}
	})
	s, sink := w.sidecar(p).ready(), &events{}
	s.cfg.Sinks = []event.Sink{sink}
	s.apply(p)
	ada := s.login("ada")
	sink.take()
	const object = `{"role":"admin"}`
	whole := fmt.Sprintf("%x\r\n%s\r\n", len(object), object)
	for name, body := range map[string]string{
		"the end of the body":      whole + "0\r\n\r\n",
		"a malformed chunk":        whole + "zz\r\n",
		"a malformed trailer":      whole + "0\r\nbad trailer\x00\r\n\r\n",
		"the end of a connection":  whole,
		"a chunk that is too long": whole + "ffffffffffffffffff\r\n",
	} {
		before := app.done.Load()
		u, err := url.Parse(s.url)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		_, err = fmt.Fprintf(conn, "PATCH /users/42 HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%s", u.Host, ada.access, whole)
		if err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, "the app to do it", func() bool { return app.done.Load() > before })
		fmt.Fprint(conn, strings.TrimPrefix(body, whole))
		if body == whole {
			_ = conn.Close()
		} else if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
			t.Log(name, res.StatusCode)
			_ = res.Body.Close()
		}
		_ = conn.Close()
		var list []event.Event
		for end := time.Now().Add(5 * time.Second); len(list) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			more, _ := sink.take()
			list = slices.DeleteFunc(more, func(e event.Event) bool { return e.Kind != event.Lifecycle })
		}
		if len(list) != 1 || list[0].Subject != "ada" || list[0].Resource.ID != "42" {
			t.Errorf("%s: %+v", name, list)
		}
	}
}
