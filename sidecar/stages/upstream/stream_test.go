package upstream

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// TestServerSentEvents: an event must reach the client before the app writes the next one.
func TestServerSentEvents(t *testing.T) {
	next := make(chan struct{})
	d := doorTo(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		rc := http.NewResponseController(w)
		_ = rc.Flush() // the header must pass without a body, too
		for i := range 3 {
			<-next
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = rc.Flush()
		}
	})
	for _, version := range []int{1, 2} {
		res, err := client(t, version).Do(request1(t, "GET", "http://"+d.addr+"/", nil))
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(res.Body)
		for i := range 3 {
			next <- struct{}{}
			line, err := br.ReadString('\n')
			if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
				t.Fatalf("event %q, %v; want %q", line, err, want)
			}
			_, _ = br.ReadString('\n')
		}
		_ = res.Body.Close()
	}
}

// TestSlowBodyOfKnownLength: a slow body of known length is not buffered until a buffer is full.
func TestSlowBodyOfKnownLength(t *testing.T) {
	next := make(chan struct{})
	d := doorTo(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "a")
		_ = http.NewResponseController(w).Flush()
		<-next
		_, _ = io.WriteString(w, "b")
	})
	res, err := client(t, 1).Do(request1(t, "GET", "http://"+d.addr+"/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b := make([]byte, 1); true {
		if _, err := io.ReadFull(res.Body, b); err != nil || b[0] != 'a' {
			t.Fatalf("%q, %v", b, err)
		}
	}
	close(next)
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "b" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestEmptyBodyOfUnknownLength: a response of unknown length without a body always arrives as the app sent it. ReverseProxy flushes its header in
// another goroutine, or, if the body ends first, not at all. Two responses of the app could be told apart by that.
func TestEmptyBodyOfUnknownLength(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() })
	for _, version := range []int{1, 2} {
		c := client(t, version)
		for i := range 300 {
			res, err := c.Do(request1(t, "GET", "http://"+d.addr+"/", nil))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			if length := res.Header.Get("Content-Length"); err != nil || len(b) != 0 || length != "" {
				t.Fatalf("HTTP/%d, response %d: body %q, Content-Length %q, %v", version, i, b, length, err)
			}
			<-d.errs
		}
	}
}

func TestResponseTrailers(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/announced" {
			w.Header().Set("Trailer", "X-Sum, Postern-Sum")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-Sum", "42")
			w.Header().Set("Postern-Sum", "forged")
			return
		}
		_, _ = io.WriteString(w, "body")
		_ = http.NewResponseController(w).Flush() // otherwise the app's net/http sends a length and no trailer
		w.Header().Set(http.TrailerPrefix+"X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"Postern-Sum", "forged")
	})
	for _, path := range []string{"/announced", "/unannounced"} {
		for _, version := range []int{1, 2} {
			res, body := do(t, client(t, version), request1(t, "GET", "http://"+d.addr+path, nil))
			if body != "body" || res.Trailer.Get("X-Sum") != "42" {
				t.Errorf("%s over %d: body %q, trailer %v", path, version, body, res.Trailer)
			}
			if _, ok := res.Trailer["Postern-Sum"]; ok {
				t.Errorf("%s over %d: trailer %v", path, version, res.Trailer)
			}
		}
	}
}

// trailing is a reader of a request body that calls end at the end, to set trailers.
type trailing struct {
	io.Reader
	end func()
}

func (r *trailing) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		r.end()
	}
	return n, err
}

func TestRequestTrailers(t *testing.T) {
	forbid := func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			delete(r.Trailer, "X-Forbidden")
			r.Header.Set("X-Set", "by a stage")
			return next.ServeHTTP(w, r)
		})
	}
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		fmt.Fprintf(w, "%v %q", r.Trailer, r.Header["X-Set"])
	}, forbid)
	for _, version := range []int{1, 2} {
		r := request1(t, "POST", "http://"+d.addr+"/", nil)
		r.Trailer = http.Header{"X-Sum": nil, "X-Forbidden": nil, "X-Set": nil, "X-Forwarded-For": nil, "Postern-Id": nil}
		r.Body = io.NopCloser(&trailing{Reader: strings.NewReader("body"), end: func() {
			for name := range r.Trailer {
				r.Trailer.Set(name, "42")
			}
		}})
		r.ContentLength = -1
		if _, body := do(t, client(t, version), r); body != `map[X-Sum:[42]] ["by a stage"]` {
			t.Errorf("version %d: the app saw %s", version, body)
		}
	}
	t.Run("unannounced", func(t *testing.T) {
		got := raw(t, d.addr, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Auth-Subject: eve\r\n\r\n")
		if !strings.Contains(got, "map[]") {
			t.Errorf("response %q", got)
		}
	})
}

// TestExpectContinue: the app, and not the sidecar, tells the client to continue.
func TestExpectContinue(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		b, _ := io.ReadAll(r.Body) // the app's server sends 100 now
		fmt.Fprintf(w, "got %s %s", b, r.Header.Get("Expect"))
	}, func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("X-Stage", "seen")
			return next.ServeHTTP(w, r)
		})
	})
	tests := map[string]struct {
		wantStatus int
		wantBody   string
		wantAsked  bool
	}{
		"/accept": {wantStatus: 200, wantBody: "got half 100-continue", wantAsked: true},
		"/refuse": {wantStatus: 417},
	}
	for path, tt := range tests {
		t.Run(path, func(t *testing.T) {
			var asked, read atomic.Bool
			r := request1(t, "POST", "http://"+d.addr+path, &trailing{Reader: strings.NewReader("half"), end: func() { read.Store(true) }})
			r.Header.Set("Expect", "100-continue")
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got100Continue: func() { asked.Store(true) }}))
			res, body := do(t, client(t, 1), r)
			if res.StatusCode != tt.wantStatus || body != tt.wantBody || res.Header.Get("X-Stage") != "seen" {
				t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
			}
			if asked.Load() != tt.wantAsked || read.Load() != tt.wantAsked {
				t.Errorf("100 seen %v, body sent %v; want %v", asked.Load(), read.Load(), tt.wantAsked)
			}
		})
	}
}

// TestEarlyHints: informational responses pass with their own fields, and change nothing in the final response's header.
func TestEarlyHints(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.Header().Set("Postern-Early", "forged")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "ok")
	}, func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("X-Stage", "seen")
			return next.ServeHTTP(w, r)
		})
	})
	for _, version := range []int{1, 2} {
		hints := make(chan textproto.MIMEHeader, 1)
		r := request1(t, "GET", "http://"+d.addr+"/", nil)
		r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints <- h
			return nil
		}}))
		res, body := do(t, client(t, version), r)
		h := wait(t, hints, "103")
		if h.Get("Link") == "" || len(h["Postern-Early"]) != 0 || len(h["X-Stage"]) != 0 {
			t.Errorf("version %d: 103 with %v", version, h)
		}
		if body != "ok" || res.Header.Get("X-Stage") != "seen" || res.Header.Get("Link") != "" {
			t.Errorf("version %d: %q %v", version, body, res.Header)
		}
	}
	if got := raw(t, d.addr, "GET / HTTP/1.0\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.0 200 OK") {
		t.Errorf("an HTTP/1.0 client got %q", got)
	}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLargeBodiesKeepMemoryFlat: large bodies pass in both directions at the same time and use no additional memory.
func TestLargeBodiesKeepMemoryFlat(t *testing.T) {
	const size = 64 << 20
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, _ := io.Copy(h, r.Body)
		w.Header().Set("X-Received", fmt.Sprint(n))
		_, _ = io.CopyN(w, zeros{}, size)
	})
	for _, version := range []int{1, 2} {
		before := heap()
		r := request1(t, "POST", "http://"+d.addr+"/", io.LimitReader(zeros{}, size))
		res, err := client(t, version).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err != nil || n != size || res.Header.Get("X-Received") != fmt.Sprint(size) {
			t.Errorf("version %d: %d bytes down, %s up, %v", version, n, res.Header.Get("X-Received"), err)
		}
		if after := heap(); after > before+24<<20 {
			t.Errorf("version %d: heap grew from %d to %d bytes", version, before, after)
		}
	}
}

// TestSlowClientBlocksTheApp: if a client does not read, the app blocks, and the sidecar does not buffer.
func TestSlowClientBlocksTheApp(t *testing.T) {
	for _, version := range []int{1, 2} {
		var written atomic.Int64
		done := make(chan struct{})
		d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
			defer close(done)
			chunk := make([]byte, 64<<10)
			for written.Load() < 1<<30 {
				n, err := w.Write(chunk)
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		ctx, cancel := context.WithCancel(context.Background())
		res, err := client(t, version).Do(request1(t, "GET", "http://"+d.addr+"/", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		last := int64(-1)
		for end := time.Now().Add(waitLimit); written.Load() != last && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			last = written.Load()
		}
		if last > 64<<20 {
			t.Errorf("version %d: the app could write %d bytes that nobody read", version, last)
		}
		cancel()
		_ = res.Body.Close()
		wait(t, done, "the app to be stopped")
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
