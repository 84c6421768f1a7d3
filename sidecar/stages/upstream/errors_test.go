package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// connApp serves every connection with serve, and then closes it. It returns the app's address.
func connApp(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// rawApp writes response to every connection after it has read a request's header, and closes.
func rawApp(t *testing.T, response string) string {
	t.Helper()
	return connApp(t, func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, response)
		}
	})
}

// closedPort is an address on which nothing listens, and which no listener gets by chance.
const closedPort = "127.0.0.1:1"

func TestAppErrors(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	slow := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	tests := map[string]struct {
		target     string
		wantStatus int
		wantCode   httperr.Code
	}{
		"nothing listens":           {target: closedPort, wantStatus: 502, wantCode: "app-unreachable"},
		"no header in time":         {target: slow, wantStatus: 504, wantCode: "app-timeout"},
		"closes without a response": {target: rawApp(t, ""), wantStatus: 502, wantCode: "app-bad-response"},
		"does not speak HTTP":       {target: rawApp(t, "SSH-2.0-x\r\n"), wantStatus: 502, wantCode: "app-bad-response"},
		"closes within its header":  {target: rawApp(t, "HTTP/1.1 200 OK\r\nA: b"), wantStatus: 502, wantCode: "app-bad-response"},
		"header without end":        {target: rawApp(t, "HTTP/1.1 200 OK\r\n"+strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 200)), wantStatus: 502, wantCode: "app-bad-response"},
		"two lengths":               {target: rawApp(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"), wantStatus: 502, wantCode: "app-bad-response"},
		"status out of range":       {target: rawApp(t, "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n"), wantStatus: 502, wantCode: "app-bad-response"},
		"upgrade not requested":     {target: rawApp(t, "HTTP/1.1 101 Switching Protocols\r\n\r\ntunnel"), wantStatus: 502, wantCode: "app-bad-response"},
		"websocket not requested":   {target: rawApp(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), wantStatus: 502, wantCode: "app-bad-response"},
	}
	for name, tt := range tests {
		for _, version := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s over %d", name, version), func(t *testing.T) {
				d := open(t, tt.target, func(c *Config) { c.Timeouts.ResponseHeader = 300 * time.Millisecond })
				res, _ := do(t, client(t, version), request1(t, "POST", "http://"+d.addr+"/", nil))
				e := httperr.From(wait(t, d.errs, "the stage's error"))
				if res.StatusCode != tt.wantStatus || e.Status != tt.wantStatus {
					t.Errorf("status %d (%v), want %d", res.StatusCode, e, tt.wantStatus)
				}
				if e.Code != tt.wantCode && (version == 1 || tt.wantStatus != 502) {
					t.Errorf("code %q, want %q", e.Code, tt.wantCode)
				}
				if e.Cause == nil {
					t.Error("no cause in the error")
				}
			})
		}
	}
}

// TestErrorsHaveNothingOfTheResponse: the cause is in the access log, and net/http quotes what it cannot read, such as a cookie.
func TestErrorsHaveNothingOfTheResponse(t *testing.T) {
	for name, response := range map[string]string{
		"a field without a colon": "HTTP/1.1 200 OK\r\nSet-Cookie session=hunter2\r\n\r\n",
		"a folded first line":     "HTTP/1.1 200 OK\r\n session=hunter2\r\n\r\n",
		"the rest of a body":      "hunter2\"\r\n\r\n",
		"a status":                "HTTP/1.1 hunter2 OK\r\n\r\n",
		"a length":                "HTTP/1.1 200 OK\r\nContent-Length: hunter2\r\n\r\n",
		"an encoding":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: hunter2\r\n\r\n",
		"a version":               "HTTP/hunter2 200 OK\r\n\r\n",
	} {
		d := open(t, rawApp(t, response), nil)
		do(t, client(t, 1), request1(t, "POST", "http://"+d.addr+"/", nil))
		if e := httperr.From(wait(t, d.errs, "the stage's error")); e.Code != "app-bad-response" || strings.Contains(e.Cause.Error(), "hunter2") {
			t.Errorf("%s: %s, %v", name, e.Code, e.Cause)
		}
	}
}

// TestDialRefuses: what the sidecar itself lacks to connect is not blamed on the app.
func TestDialRefuses(t *testing.T) {
	d := open(t, "app:80", func(c *Config) {
		c.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, fmt.Errorf("connecting: %w", &httperr.Error{Status: http.StatusServiceUnavailable, Code: "app-ca-unavailable"})
		}
	})
	do(t, client(t, 1), request1(t, "GET", "http://"+d.addr+"/", nil))
	if e := httperr.From(wait(t, d.errs, "the stage's error")); e.Code != "app-ca-unavailable" || e.Status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", e.Status, e.Code)
	}
}

func TestDialTimeoutIsUnreachable(t *testing.T) {
	d := open(t, "app:80", func(c *Config) {
		c.DialContext = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		}
	})
	do(t, client(t, 1), request1(t, "GET", "http://"+d.addr+"/", nil))
	if e := httperr.From(wait(t, d.errs, "the stage's error")); e.Code != "app-unreachable" {
		t.Errorf("code %q", e.Code)
	}
}

// TestAppClosesDuringBody: a body that is cut off must never look complete.
func TestAppClosesDuringBody(t *testing.T) {
	tests := map[string]string{
		"of a known length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"of a chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf",
		"between chunks":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	}
	for name, response := range tests {
		t.Run(name, func(t *testing.T) {
			d := open(t, rawApp(t, response), nil)
			res, err := client(t, 1).Do(request1(t, "GET", "http://"+d.addr+"/", nil))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			if err == nil {
				t.Error("the client saw a complete response")
			}
			wait(t, d.aborts, "the abort")
			d.waitLog(t, `"level":"WARN","msg":"response aborted"`)
		})
	}
	t.Run("of a stream", func(t *testing.T) {
		d := doorTo(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		})
		res, err := client(t, 2).Do(request1(t, "GET", "http://"+d.addr+"/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err = io.ReadAll(res.Body); err == nil {
			t.Error("the client saw a complete response")
		}
		_ = res.Body.Close()
		wait(t, d.aborts, "the abort")
	})
}

func TestClientDisconnects(t *testing.T) {
	tests := map[string]struct{ responseFirst bool }{
		"before the response": {},
		"during the response": {responseFirst: true},
	}
	for name, tt := range tests {
		for _, version := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s over %d", name, version), func(t *testing.T) {
				arrived, left := make(chan struct{}, 1), make(chan struct{}, 1)
				d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
					if tt.responseFirst {
						_, _ = io.WriteString(w, "begun")
						_ = http.NewResponseController(w).Flush()
					}
					arrived <- struct{}{}
					<-r.Context().Done()
					left <- struct{}{}
				})
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				r := request1(t, "GET", "http://"+d.addr+"/", nil).WithContext(ctx)
				if !tt.responseFirst {
					go func() {
						<-arrived
						cancel()
					}()
				}
				res, err := client(t, version).Do(r)
				cancel()
				if err == nil {
					_, _ = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				wait(t, left, "the app to be told")
				if tt.responseFirst {
					wait(t, d.aborts, "the abort")
					d.waitLog(t, `"level":"DEBUG","msg":"response aborted"`)
					return
				}
				if e := httperr.From(wait(t, d.errs, "the stage's error")); e.Status != StatusClientClosedRequest {
					t.Errorf("error %v", e)
				}
			})
		}
	}
}

// failing is a body that returns some bytes and then err.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	if n, err := f.Reader.Read(p); err == nil {
		return n, nil
	}
	return 0, f.err
}

func (f *failing) Close() error { return nil }

func TestClientBodyErrors(t *testing.T) {
	tests := map[string]struct {
		err        error
		wantStatus int
		wantCode   httperr.Code
	}{
		"an earlier stage refuses it": {err: fmt.Errorf("reading: %w", &httperr.Error{Status: 422, Code: "password-weak"}), wantStatus: 422, wantCode: "password-weak"},
		"too large":                   {err: &http.MaxBytesError{Limit: 4}, wantStatus: 413, wantCode: "body-too-large"},
		"too slow":                    {err: os.ErrDeadlineExceeded, wantStatus: 408, wantCode: "body-timeout"},
		"malformed":                   {err: errors.New("malformed chunked encoding"), wantStatus: 400, wantCode: "bad-body"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			breaks := func(next stage.Handler) stage.Handler {
				return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
					r.Body = &failing{Reader: strings.NewReader("half"), err: tt.err}
					return next.ServeHTTP(w, r)
				})
			}
			d := doorTo(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }, breaks)
			res, _ := do(t, client(t, 1), request1(t, "POST", "http://"+d.addr+"/", strings.NewReader("half and half")))
			e := httperr.From(wait(t, d.errs, "the stage's error"))
			if res.StatusCode != tt.wantStatus || e.Code != tt.wantCode {
				t.Errorf("%d %s, want %d %s", res.StatusCode, e.Code, tt.wantStatus, tt.wantCode)
			}
		})
	}
}

// TestSlowBodyIsNoDisconnect: an HTTP/1.1 body whose deadline passes is refused with 408, although net/http ends the context of its
// request; a client that leaves in its body is gone.
func TestSlowBodyIsNoDisconnect(t *testing.T) {
	tests := map[string]struct {
		leave      bool
		wantStatus int
	}{"slow": {wantStatus: 408}, "gone": {leave: true, wantStatus: StatusClientClosedRequest}}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan func(time.Time) error, 1)
			d := doorTo(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }, func(next stage.Handler) stage.Handler {
				return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
					arrived <- http.NewResponseController(w).SetReadDeadline
					return next.ServeHTTP(w, r)
				})
			})
			conn, err := net.Dial("tcp", d.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(waitLimit))
			_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf")
			end := wait(t, arrived, "the request")
			if tt.leave {
				_ = conn.Close()
			} else {
				_ = end(time.Now())
			}
			if e := httperr.From(wait(t, d.errs, "the stage's error")); e.Status != tt.wantStatus {
				t.Errorf("error %v", e)
			}
			if answer, err := io.ReadAll(conn); !tt.leave && (err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ")) {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
}

// TestPostIsNotRepeated: a POST that has reached the app is never sent twice, whatever its outcome.
func TestPostIsNotRepeated(t *testing.T) {
	seen := make(chan string, 10)
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Method
		if r.Method == "POST" {
			panic(http.ErrAbortHandler)
		}
	})
	c := client(t, 1)
	do(t, c, request1(t, "GET", "http://"+d.addr+"/", nil)) // so that the POST uses a kept connection
	wait(t, d.errs, "the first response")
	do(t, c, request1(t, "POST", "http://"+d.addr+"/", strings.NewReader("pay")))
	if e := httperr.From(wait(t, d.errs, "the stage's error")); e.Status != 502 {
		t.Errorf("error %v", e)
	}
	if got := len(seen); got != 2 {
		t.Errorf("the app saw %d requests, want 2", got)
	}
}
