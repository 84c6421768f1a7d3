package response

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// intercepted starts a server whose app is behind an Intercept.
func intercepted(t *testing.T, decide Decide, app stage.Func) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Earlier", "kept")
		if err := Intercept(w, r, app, decide); err != nil {
			httperr.Write(w, r, err)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

// says returns an app that responds with status, header fields and body, one piece at a time.
func says(status int, body ...string) stage.Func {
	return func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("X-App", "1")
		w.Header().Set("X-Earlier", "overwritten")
		if status != 0 {
			w.WriteHeader(status)
		}
		for _, piece := range body {
			if _, err := io.WriteString(w, piece); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestIntercept(t *testing.T) {
	replace := func(keep int) Action {
		return Action{Keep: keep, Replace: func(w http.ResponseWriter, body []byte, whole bool) error {
			w.WriteHeader(http.StatusAccepted)
			_, err := fmt.Fprintf(w, "%s %v", body, whole)
			return err
		}}
	}
	tests := map[string]struct {
		action Action
		app    stage.Func
		// wantSeen is the status that decide sees; 0 for none.
		wantSeen, wantStatus int
		wantBody             string
		// wantApp and wantEarlier are the fields X-App and X-Earlier.
		wantApp, wantEarlier string
	}{
		"passed":                  {app: says(201, "a", "b"), wantSeen: 201, wantStatus: 201, wantBody: "ab", wantApp: "1", wantEarlier: "overwritten"},
		"passed, without header":  {app: says(0, "a"), wantSeen: 200, wantStatus: 200, wantBody: "a", wantApp: "1", wantEarlier: "overwritten"},
		"passed, nothing written": {app: says(0), wantSeen: 200, wantStatus: 200, wantApp: "1", wantEarlier: "overwritten"},
		"replaced by an error": {action: Action{Err: &httperr.Error{Status: 409, Code: "no"}}, app: says(200, "a"), wantSeen: 200, wantStatus: 409,
			wantBody: `{"type":"https://postern.dev/problems/no","title":"Conflict","status":409}`, wantEarlier: "kept"},
		"replaced, body dropped":       {action: replace(0), app: says(200, "a"), wantSeen: 200, wantStatus: 202, wantBody: " false", wantApp: "1", wantEarlier: "overwritten"},
		"replaced, no body":            {action: replace(0), app: says(200), wantSeen: 200, wantStatus: 202, wantBody: " true", wantApp: "1", wantEarlier: "overwritten"},
		"replaced, body kept":          {action: replace(4), app: says(200, "ab", "cd"), wantSeen: 200, wantStatus: 202, wantBody: "abcd true", wantApp: "1", wantEarlier: "overwritten"},
		"replaced, body kept in part":  {action: replace(3), app: says(200, "ab", "cd", "ef"), wantSeen: 200, wantStatus: 202, wantBody: "abc false", wantApp: "1", wantEarlier: "overwritten"},
		"replaced, nothing written":    {action: replace(3), app: says(0), wantSeen: 200, wantStatus: 202, wantBody: " true", wantApp: "1", wantEarlier: "overwritten"},
		"replaced, a second header":    {action: replace(3), app: func(w http.ResponseWriter, r *http.Request) error { w.WriteHeader(500); return says(200, "a")(w, r) }, wantSeen: 500, wantStatus: 202, wantBody: "a true", wantEarlier: "kept"},
		"refused by a later stage":     {action: replace(3), app: func(http.ResponseWriter, *http.Request) error { return &httperr.Error{Status: 403, Code: "no"} }, wantStatus: 403, wantBody: `{"type":"https://postern.dev/problems/no","title":"Forbidden","status":403}`, wantEarlier: "kept"},
		"early hints, then the header": {app: func(w http.ResponseWriter, r *http.Request) error { w.WriteHeader(103); return says(204)(w, r) }, wantSeen: 204, wantStatus: 204, wantApp: "1", wantEarlier: "overwritten"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var seen []int
			srv := intercepted(t, func(status int, _ http.Header) Action {
				seen = append(seen, status)
				return tt.action
			}, tt.app)
			res, err := http.Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tt.wantStatus || string(body) != tt.wantBody {
				t.Errorf("%d %q, %v; want %d %q", res.StatusCode, body, err, tt.wantStatus, tt.wantBody)
			}
			if got := res.Header.Get("X-App"); got != tt.wantApp {
				t.Errorf("X-App %q; want %q", got, tt.wantApp)
			}
			if got := res.Header.Get("X-Earlier"); got != tt.wantEarlier {
				t.Errorf("X-Earlier %q; want %q", got, tt.wantEarlier)
			}
			if want := tt.wantSeen; len(seen) > 1 || len(seen) == 1 && seen[0] != want || len(seen) == 0 && want != 0 {
				t.Errorf("decide saw %v; want %d", seen, want)
			}
		})
	}
}

func TestInterceptChangesTheHeader(t *testing.T) {
	srv := intercepted(t, func(_ int, h http.Header) Action {
		h.Del("X-App")
		h.Set("Set-Cookie", "a=b")
		return Action{}
	}, says(200, "a"))
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.Header.Get("X-App") != "" || res.Header.Get("Set-Cookie") != "a=b" {
		t.Errorf("header %v", res.Header)
	}
}

// TestInterceptStreams: a passed response is flushed immediately, with its trailers; nothing of a replaced one arrives.
func TestInterceptStreams(t *testing.T) {
	tests := map[string]struct {
		action      Action
		wantFirst   string
		wantTrailer string
	}{
		"passed":   {wantFirst: "one", wantTrailer: "42"},
		"replaced": {action: Action{Replace: func(w http.ResponseWriter, _ []byte, _ bool) error { _, err := io.WriteString(w, "new"); return err }}, wantFirst: "new"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			srv := intercepted(t, func(_ int, h http.Header) Action {
				if tt.action.Replace != nil {
					h.Del("Trailer")
				}
				return tt.action
			}, func(w http.ResponseWriter, _ *http.Request) error {
				w.Header().Set("Trailer", "X-Sum")
				_, err := io.WriteString(w, "one")
				err = errors.Join(err, http.NewResponseController(w).Flush())
				if tt.action.Replace == nil {
					<-goOn
				}
				w.Header().Set("X-Sum", "42")
				w.Header().Set(http.TrailerPrefix+"X-Late", "42")
				return err
			})
			res, err := http.Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			first := make([]byte, 3)
			if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != tt.wantFirst {
				t.Fatalf("%q, %v; want %q", first, err, tt.wantFirst)
			}
			close(goOn)
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			if got := res.Trailer.Get("X-Sum"); got != tt.wantTrailer || res.Trailer.Get("X-Late") != tt.wantTrailer || res.Header.Get("X-Sum") != "" {
				t.Errorf("trailers %v, header %v; want %q", res.Trailer, res.Header, tt.wantTrailer)
			}
		})
	}
}

// TestInterceptIgnoresHijackedConnections: there is no response to decide about, and none is written.
func TestInterceptIgnoresHijackedConnections(t *testing.T) {
	srv := intercepted(t, func(int, http.Header) Action {
		t.Error("decide was called for a hijacked connection")
		return Action{Err: errors.New("late")}
	}, func(w http.ResponseWriter, _ *http.Request) error {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return err
		}
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\nraw")
		return errors.Join(err, conn.Close())
	})
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got, err := io.ReadAll(bufio.NewReader(conn)); err != nil || !strings.HasSuffix(string(got), "\r\n\r\nraw") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestInterceptAborts: an aborted response is not replaced by one that looks complete.
func TestInterceptAborts(t *testing.T) {
	srv := intercepted(t, func(int, http.Header) Action {
		return Action{Replace: func(http.ResponseWriter, []byte, bool) error { t.Error("replaced"); return nil }}
	}, func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	})
	if res, err := http.Get(srv.URL); err == nil {
		t.Errorf("a complete response: %d", res.StatusCode)
		res.Body.Close()
	}
}

// counter counts the hook's calls.
type counter struct {
	Writer
	statuses []int
}

func (c *counter) BeforeHeader(status int) { c.statuses = append(c.statuses, status) }

func TestWriterAllocatesNothing(t *testing.T) {
	var inner http.ResponseWriter = discard{}
	n := testing.AllocsPerRun(100, func() {
		w := Writer{ResponseWriter: inner}
		w.WriteHeader(200)
		_, _ = w.Write(nil)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type discard struct{}

func (discard) Header() http.Header         { return nil }
func (discard) WriteHeader(int)             {}
func (discard) Write(p []byte) (int, error) { return len(p), nil }

func TestHookIsCalledOnce(t *testing.T) {
	tests := map[string]struct {
		act  func(w http.ResponseWriter)
		want string
	}{
		"WriteHeader": {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(404); _, _ = w.Write(nil) }, "[404]"},
		"Write":       {func(w http.ResponseWriter) { _, _ = w.Write(nil); w.WriteHeader(404) }, "[200]"},
		"Flush":       {func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }, "[200]"},
		"an upgrade":  {func(w http.ResponseWriter) { w.WriteHeader(101) }, "[101]"},
		"nothing":     {func(http.ResponseWriter) {}, "[]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &counter{Writer: Writer{ResponseWriter: discard{}}}
			c.OnHeader = c
			tt.act(c)
			if got := fmt.Sprint(c.statuses); got != tt.want {
				t.Errorf("called with %s; want %s", got, tt.want)
			}
		})
	}
}
