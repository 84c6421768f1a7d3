package upstream

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/hopbyhop"
)

// waitLimit is how long a test waits for an event.
const waitLimit = 20 * time.Second

// door is a sidecar that has only the proxy.
type door struct {
	addr string
	logs *logtest.Buffer
	// errs receives what the stage returned; aborts receives a value for each request that ended in http.ErrAbortHandler.
	errs   chan error
	aborts chan struct{}
	proxy  *Proxy
}

func bothProtocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// serve runs h for HTTP/1.1 and HTTP/2 on a loopback port until the test ends.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = bothProtocols()
	s.Start()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// open starts a proxy in front of target. The stage hopbyhop, which the proxy relies on, and stages come before it.
func open(t *testing.T, target string, change func(*Config), stages ...stage.Stage) *door {
	t.Helper()
	d := &door{logs: &logtest.Buffer{}, errs: make(chan error, 100), aborts: make(chan struct{}, 100)}
	cfg := Config{
		Target: func(netip.AddrPort) string { return target },
		Logger: slog.New(slog.NewJSONHandler(d.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	d.proxy = p
	chain := stage.Chain(p, append([]stage.Stage{hopbyhop.New(nil)}, stages...)...)
	d.addr = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				d.aborts <- struct{}{}
				panic(v)
			}
		}()
		err := chain.ServeHTTP(w, r)
		if err != nil {
			httperr.Write(w, r, err)
		}
		d.errs <- err
	}))
	return d
}

// doorTo starts a proxy in front of app.
func doorTo(t *testing.T, app http.HandlerFunc, stages ...stage.Stage) *door {
	t.Helper()
	return open(t, serve(t, app), nil, stages...)
}

// client uses HTTP/1.1 or cleartext HTTP/2. It decompresses nothing and follows no redirects.
func client(t *testing.T, version int) *http.Client {
	t.Helper()
	p := new(http.Protocols)
	p.SetHTTP1(version == 1)
	p.SetUnencryptedHTTP2(version == 2)
	tr := &http.Transport{Protocols: p, DisableCompression: true, ExpectContinueTimeout: waitLimit}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// raw sends text unchanged and returns everything that the server sends until it closes.
func raw(t *testing.T, addr, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatalf("reading response: %v after %q", err, b)
	}
	return string(b)
}

func request1(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// do returns the response and its complete body.
func do(t *testing.T, c *http.Client, r *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading body of %s %s: %v", r.Method, r.URL, err)
	}
	return res, string(b)
}

func wait[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(waitLimit):
		t.Fatalf("timed out waiting for %s", what)
	}
	panic("unreachable")
}

// waitLog waits for a line that contains text.
func (d *door) waitLog(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(waitLimit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(d.logs.String(), text) {
			return
		}
	}
	t.Fatalf("no log line with %q in %s", text, d.logs)
}
