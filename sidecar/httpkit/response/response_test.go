package response

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// serve starts a server whose handler is behind a Decorate that records each status in X-Seen.
func serve(t *testing.T, h stage.Func) *httptest.Server {
	t.Helper()
	decorate := Decorate(func(_ *http.Request, status int, h http.Header) {
		h.Add("X-Seen", http.StatusText(status))
		h.Del("X-App")
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := decorate(h).ServeHTTP(w, r); err != nil {
			httperr.Write(w, r, err)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestDecorate(t *testing.T) {
	tests := map[string]struct {
		handler    stage.Func
		wantStatus int
		wantBody   string
	}{
		"WriteHeader": {wantStatus: 201, wantBody: "a", handler: func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-App", "1")
			w.WriteHeader(201)
			_, err := io.WriteString(w, "a")
			return err
		}},
		"only Write": {wantStatus: 200, wantBody: "a", handler: func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-App", "1")
			_, err := io.WriteString(w, "a")
			return err
		}},
		"nothing": {wantStatus: 200, handler: func(w http.ResponseWriter, _ *http.Request) error {
			w.Header().Set("X-App", "1")
			return nil
		}},
		"Flush": {wantStatus: 200, wantBody: "a", handler: func(w http.ResponseWriter, _ *http.Request) error {
			w.(interface{ FlushError() error }).FlushError()
			_, err := io.WriteString(w, "a")
			return err
		}},
		"controller": {wantStatus: 200, wantBody: "a", handler: func(w http.ResponseWriter, _ *http.Request) error {
			rc := http.NewResponseController(w)
			if err := errors.Join(rc.EnableFullDuplex(), rc.Flush()); err != nil {
				return err
			}
			_, err := io.WriteString(w, "a")
			return err
		}},
		"refusal": {wantStatus: 403, wantBody: `{"type":"https://postern.dev/problems/no","title":"Forbidden","status":403}`,
			handler: func(http.ResponseWriter, *http.Request) error {
				return &httperr.Error{Status: 403, Code: "no"}
			}},
		"early hints": {wantStatus: 200, wantBody: "a", handler: func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusEarlyHints)
			clear(w.Header()) // as httputil.ReverseProxy does
			_, err := io.WriteString(w, "a")
			return err
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			res, err := http.Get(serve(t, tt.handler).URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, err := io.ReadAll(res.Body)
			if err != nil || string(body) != tt.wantBody || res.StatusCode != tt.wantStatus {
				t.Errorf("response %d %q, %v; want %d %q", res.StatusCode, body, err, tt.wantStatus, tt.wantBody)
			}
			if got := res.Header["X-Seen"]; !slices.Equal(got, []string{http.StatusText(tt.wantStatus)}) || res.Header["X-App"] != nil {
				t.Errorf("the hook left X-Seen %q, X-App %q", got, res.Header["X-App"])
			}
		})
	}
}

func TestEarlyHintsPassUnchanged(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(http.StatusEarlyHints)
		return nil
	})
	var hints http.Header
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints = http.Header(h)
			return nil
		},
	})
	r, err := http.NewRequestWithContext(ctx, "GET", srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if hints.Get("Link") == "" || hints.Get("X-Seen") != "" {
		t.Errorf("early hints arrived as %v", hints)
	}
}

func TestTrailers(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Trailer", "Grpc-Status")
		if _, err := io.WriteString(w, "a"); err != nil {
			return err
		}
		w.Header().Set("Grpc-Status", "0")
		return nil
	})
	res, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.Trailer.Get("Grpc-Status") != "0" {
		t.Errorf("trailers %v, %v", res.Trailer, err)
	}
}

func TestHijack(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) error {
		conn, _, err := w.(http.Hijacker).Hijack()
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
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil || !strings.HasSuffix(string(got), "\r\n\r\nraw") || strings.Contains(string(got), "X-Seen") {
		t.Errorf("read %q, %v", got, err)
	}
}

func TestHijackNotSupported(t *testing.T) {
	w := &Writer{ResponseWriter: httptest.NewRecorder()}
	if _, _, err := w.Hijack(); !errors.Is(err, http.ErrNotSupported) || w.begun {
		t.Errorf("hijacking without support: %v", err)
	}
}
