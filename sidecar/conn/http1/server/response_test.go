package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// answers are handlers whose responses depend on most rules of RFC 9112 §6 and §9.
var answers = map[string]http.HandlerFunc{
	"/nothing": func(http.ResponseWriter, *http.Request) {},
	"/short":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "short") },
	"/long":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("long", 10<<10)) },
	"/pieces": func(w http.ResponseWriter, _ *http.Request) {
		for range 5000 {
			_, _ = io.WriteString(w, "piece ")
		}
	},
	"/flushed": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "a")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "b")
	},
	"/length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = io.WriteString(w, strings.Repeat("x", 5000))
	},
	"/too-short": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "x")
	},
	"/too-long": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		if _, err := io.WriteString(w, "xyz"); errors.Is(err, http.ErrContentLength) {
			_, _ = io.WriteString(w, "no")
		}
	},
	"/none": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
	"/modified": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", "a")
		w.WriteHeader(http.StatusNotModified)
	},
	"/close": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "x")
	},
	"/echo": func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) },
	"/trailers": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.WriteString(w, "x")
		w.Header().Set("X-Sum", "1")
		w.Header().Set(http.TrailerPrefix+"X-Late", "2")
	},
	"/split": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-A", "a\r\nX-Injected: b")
		w.Header()["X B\r\nX-Injected"] = []string{"c"}
		_, _ = io.WriteString(w, "x")
	},
	"/abort": func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	"/odd":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) },
	"/hints": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "x")
	},
}

// transcript describes the responses to input, and whether the server has closed the connection.
func transcript(t *testing.T, handler http.Handler, ours bool, input string) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if ours {
		s, err := New(Config{Handler: handler, Poison: true})
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve(inner)
		defer s.Close()
	} else {
		s := &http.Server{Handler: handler, ReadHeaderTimeout: waitLimit}
		go s.Serve(inner)
		defer s.Close()
	}
	conn, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	_, _ = io.WriteString(conn, input)
	var out strings.Builder
	method, _, _ := strings.Cut(input, " ")
	for r := bufio.NewReader(conn); ; {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return out.String()
		}
		body, err := io.ReadAll(resp.Body)
		for _, name := range []string{"Date", "Content-Type"} { // no type is guessed
			resp.Header.Del(name)
		}
		fmt.Fprintf(&out, "%s %s %d %v %v %v %q %v\n", resp.Proto, resp.Status, len(body), resp.Close, resp.Header, resp.Trailer, body[:min(len(body), 40)], err)
		method = http.MethodGet
	}
}

// TestAnswersAsNetHTTP: the responses are those of net/http, and the connection is kept in the same cases. Each connection ends with a
// request that closes it.
func TestAnswersAsNetHTTP(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		answers[r.URL.Path](w, r)
	})
	const last = "GET /short HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	heads := map[string]string{
		"GET":               "GET %s HTTP/1.1\r\nHost: a\r\n\r\n" + last,
		"HEAD":              "HEAD %s HTTP/1.1\r\nHost: a\r\n\r\n" + last,
		"GET of 1.0":        "GET %s HTTP/1.0\r\n\r\n",
		"GET of 1.0, kept":  "GET %s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + last,
		"POST":              "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + last,
		"POST in chunks":    "POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n" + last,
		"POST after asking": "POST %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
	}
	for path := range answers {
		for name, head := range heads {
			t.Run(name+" "+path, func(t *testing.T) {
				t.Parallel()
				if path == "/hints" && strings.Contains(name, "1.0") {
					t.Skip("net/http sends an interim response to HTTP/1.0, which has none (RFC 9110 §15.2)")
				}
				input := fmt.Sprintf(head, path)
				if got, want := transcript(t, handler, true, input), transcript(t, handler, false, input); got != want {
					t.Errorf("got\n%snet/http's are\n%s", got, want)
				}
			})
		}
	}
}

// TestClientGone: the context of a request ends when its client disconnects, also after its body, and with the handler.
func TestClientGone(t *testing.T) {
	for name, request := range map[string]string{"no body": get, "a body": post + "Content-Length: 3\r\n\r\nabc"} {
		t.Run(name, func(t *testing.T) {
			started, ended := make(chan struct{}), make(chan error, 1)
			addr, _ := serve(t, Config{}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				close(started)
				select {
				case <-r.Context().Done():
					ended <- r.Context().Err()
				case <-time.After(waitLimit):
					ended <- nil
				}
			}))
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, request)
			<-started
			conn.Close()
			if err := <-ended; err == nil {
				t.Error("the handler did not notice")
			}
		})
	}
}

// TestWatchedConnectionIsKept: a request that lasts, with another sent ahead meanwhile, does not end the connection.
func TestWatchedConnectionIsKept(t *testing.T) {
	proceed := make(chan struct{})
	addr, _ := serve(t, Config{Times: Times{Gone: time.Millisecond}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-proceed
		}
		fmt.Fprint(w, r.URL.Path, r.Context().Err())
	}))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(waitLimit))
	_, _ = io.WriteString(conn, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	time.AfterFunc(3*maxSweepInterval, func() {
		_, _ = io.WriteString(conn, "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		close(proceed)
	})
	out, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(out), "/slow<nil>") || !strings.Contains(string(out), "/next<nil>") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestStalls: a client that stops in a head, in a body or in a response ends its request.
func TestStalls(t *testing.T) {
	times := Times{Head: 50 * time.Millisecond, Stall: 50 * time.Millisecond}
	ended := make(chan error, 1)
	addr, _ := serve(t, Config{Times: times}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		for err == nil {
			_, err = w.Write(make([]byte, 1<<20))
		}
		ended <- err
	}))
	for name, tt := range map[string]struct {
		sent    string
		handled bool
	}{
		"nothing": {"", false}, "half a head": {"GET / HT", false}, "half a body": {post + "Content-Length: 3\r\n\r\na", true}, "no reading": {get, true},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(waitLimit))
			_, _ = io.WriteString(conn, tt.sent)
			if tt.handled {
				if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the handler saw %v", err)
				}
				return
			}
			if out, err := io.ReadAll(conn); len(out) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

// TestPoison: a response that is used after its handler has returned is found.
func TestPoison(t *testing.T) {
	kept := make(chan http.ResponseWriter, 2)
	addr, _ := serve(t, Config{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { kept <- w }))
	exchange(t, addr, get+"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	defer func() {
		if recover() == nil {
			t.Error("nothing was found")
		}
	}()
	(<-kept).Header()
}
