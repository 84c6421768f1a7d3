package compression

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// proxy starts app behind a reverse proxy with the stage.
func proxy(t *testing.T, c Config, app http.HandlerFunc) *httptest.Server {
	t.Helper()
	compress, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(app)
	t.Cleanup(upstream.Close)
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	rp := &httputil.ReverseProxy{
		Rewrite:  func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
		ErrorLog: log.New(io.Discard, "", 0),
	}
	h := compress(stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		rp.ServeHTTP(w, r)
		return nil
	}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = h.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	return srv
}

// open sends a GET that accepts gzip; the transport does not decode it.
func open(t *testing.T, rawURL string) *http.Response {
	t.Helper()
	r, err := http.NewRequest("GET", rawURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

// TestStreamFlushes: the app writes each line only after the client has read the line before it.
func TestStreamFlushes(t *testing.T) {
	tests := map[string]struct {
		contentType  string
		config       Config
		wantEncoding string
	}{
		"a stream of JSON":      {contentType: "application/x-ndjson", config: Config{MinSize: 1024}, wantEncoding: "gzip"},
		"events":                {contentType: "text/event-stream", config: Config{MinSize: 1024}},
		"events, if configured": {contentType: "text/event-stream", config: Config{Types: []string{"text/event-stream"}}, wantEncoding: "gzip"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			read := make(chan struct{})
			srv := proxy(t, tt.config, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", tt.contentType)
				for i := range 3 {
					fmt.Fprintf(w, "line %d\n", i)
					_ = http.NewResponseController(w).Flush()
					select {
					case <-read:
					case <-r.Context().Done():
						return
					}
				}
			})
			res := open(t, srv.URL)
			if got := res.Header.Get("Content-Encoding"); got != tt.wantEncoding {
				t.Fatalf("Content-Encoding %q; want %q", got, tt.wantEncoding)
			}
			var body io.Reader = res.Body
			if tt.wantEncoding != "" {
				var err error
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			lines := bufio.NewReader(body)
			for i := range 3 {
				line, err := lines.ReadString('\n')
				if err != nil || line != fmt.Sprintf("line %d\n", i) {
					t.Fatalf("read %q, %v", line, err)
				}
				read <- struct{}{}
			}
			if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
				t.Errorf("the end: %q, %v", rest, err)
			}
		})
	}
}

// TestIncompleteStaysIncomplete: the encoder does not write a proper end for a response that the app cut off.
func TestIncompleteStaysIncomplete(t *testing.T) {
	srv := proxy(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	res := open(t, srv.URL)
	body, err := gzip.NewReader(res.Body)
	if err == nil {
		_, err = io.ReadAll(body)
	}
	if err == nil {
		t.Error("a response that was cut off reads as complete")
	}
}

func TestTrailersPass(t *testing.T) {
	srv := proxy(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, text)
		w.Header().Set("X-Sum", "1")
	})
	res := open(t, srv.URL)
	if got := decode(t, "gzip", res.Body); got != text || res.Trailer.Get("X-Sum") != "1" {
		t.Errorf("%d bytes, trailer %v", len(got), res.Trailer)
	}
}

func TestUpgradePasses(t *testing.T) {
	srv := proxy(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, "echo "+line)
	})
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAccept-Encoding: gzip\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	res, err := http.ReadResponse(reader, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("response %v, %v", res, err)
	}
	if _, err := io.WriteString(conn, "hi\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := reader.ReadString('\n'); err != nil || got != "echo hi\n" {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestInformationalPasses(t *testing.T) {
	w := httptest.NewRecorder()
	cw := &writer{Writer: response.Writer{ResponseWriter: w}, policy: &policy{}, r: get("gzip")}
	cw.WriteHeader(http.StatusEarlyHints)
	if cw.started {
		t.Error("early hints count as the final response")
	}
}

// broken fails every write, as a connection that the client has closed.
type broken struct{ http.ResponseWriter }

var errGone = errors.New("gone")

func (broken) Write([]byte) (int, error) { return 0, errGone }

func TestClientGone(t *testing.T) {
	compress, err := New(Config{MinSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	h := compress(stage.Func(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "text/plain")
		for range 1000 {
			if _, err := io.WriteString(w, text); err != nil {
				return nil
			}
		}
		t.Error("no write failed")
		return nil
	}))
	for range 3 { // an encoder works again after a failure
		if err := h.ServeHTTP(broken{httptest.NewRecorder()}, get("gzip")); err != nil {
			t.Error(err)
		}
	}
	w := httptest.NewRecorder()
	ok := compress(respond(200))
	if err := ok.ServeHTTP(w, get("gzip")); err != nil || decode(t, "gzip", w.Body) != text {
		t.Errorf("after failures: %v", err)
	}
}
