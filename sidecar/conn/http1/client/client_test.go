package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// app calls serve for every connection with its number, beginning at 1.
func app(t *testing.T, serve func(number int64, conn net.Conn, in *bufio.Reader)) (addr string, conns *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	conns = &atomic.Int64{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			number := conns.Add(1)
			go func() {
				defer conn.Close()
				serve(number, conn, bufio.NewReader(conn))
			}()
		}
	}()
	return l.Addr().String(), conns
}

// answer responds to every request with response, in its order.
func answer(response string) func(int64, net.Conn, *bufio.Reader) {
	return func(_ int64, conn net.Conn, in *bufio.Reader) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			if _, err := io.WriteString(conn, response); err != nil {
				return
			}
		}
	}
}

func newClient(t *testing.T) *Client {
	t.Helper()
	c := New(Config{Dial: (&net.Dialer{}).DialContext, Idle: time.Minute, MaxIdle: 2, ExpectContinue: time.Minute})
	t.Cleanup(c.CloseIdle)
	return c
}

func newRequest(t *testing.T, method, target, body string) *Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	in, err := http.NewRequestWithContext(ctx, method, "http://"+target+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{In: in, Target: target}
	if body != "" {
		r.Body, r.Length = strings.NewReader(body), int64(len(body))
	}
	return r
}

func readAll(res *Response) (string, error) {
	defer res.Close()
	var all strings.Builder
	for {
		part, _, err := res.Next()
		all.Write(part)
		if errors.Is(err, io.EOF) {
			return all.String(), nil
		}
		if err != nil {
			return all.String(), err
		}
	}
}

func do(t *testing.T, c *Client, r *Request) string {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := readAll(res)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestReuse: a connection is used again only if its last response was complete, and nothing else can be on it.
func TestReuse(t *testing.T) {
	tests := map[string]struct {
		response, method, body string
		close                  bool
		wantBody               string
		wantConns              int64
	}{
		"length":              {response: ok, wantBody: "ok", wantConns: 1},
		"chunks":              {response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", wantBody: "ok", wantConns: 1},
		"no body":             {response: "HTTP/1.1 204 No Content\r\n\r\n", wantConns: 1},
		"HEAD":                {response: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", method: "HEAD", wantConns: 1},
		"with a body":         {response: ok, method: "POST", body: "x", wantBody: "ok", wantConns: 1},
		"after 103":           {response: "HTTP/1.1 103 Early Hints\r\n\r\n" + ok, wantBody: "ok", wantConns: 1},
		"the app closes":      {response: "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", wantBody: "ok", wantConns: 2},
		"asked to close":      {response: ok, close: true, wantBody: "ok", wantConns: 2},
		"HTTP/1.0":            {response: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", wantBody: "ok", wantConns: 2},
		"a second response":   {response: ok + ok, wantBody: "ok", wantConns: 2},
		"a body after HEAD":   {response: ok, method: "HEAD", wantConns: 2},
		"a body after 204":    {response: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", wantConns: 2},
		"a byte after chunks": {response: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nH", wantConns: 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr, conns := app(t, answer(tt.response))
			c := newClient(t)
			for range 2 {
				method := tt.method
				if method == "" {
					method = "GET"
				}
				r := newRequest(t, method, addr, tt.body)
				r.Close, r.Interim = tt.close, ignore{}
				if got := do(t, c, r); got != tt.wantBody {
					t.Errorf("body %q", got)
				}
			}
			if conns.Load() != tt.wantConns {
				t.Errorf("%d connections, want %d", conns.Load(), tt.wantConns)
			}
		})
	}
}

// TestRenew: after it, neither an unused connection nor one that was in use is used again. The request in progress ends as it should.
func TestRenew(t *testing.T) {
	addr, conns := app(t, answer(ok))
	c := newClient(t)
	do(t, c, newRequest(t, "GET", addr, ""))
	c.Renew()
	res, err := c.Do(newRequest(t, "GET", addr, ""))
	if err != nil || conns.Load() != 2 {
		t.Fatalf("%v; %d connections, want 2", err, conns.Load())
	}
	c.Renew()
	if body, err := readAll(res); err != nil || body != "ok" {
		t.Errorf("%q, %v", body, err)
	}
	for range 2 {
		do(t, c, newRequest(t, "GET", addr, ""))
	}
	if conns.Load() != 3 {
		t.Errorf("%d connections, want 3", conns.Load())
	}
}

type ignore struct{}

func (ignore) Inform(int, []wire.Field) {}

// TestUnusableConnections: a kept connection that the app has closed, or on which it has sent something, is not used.
func TestUnusableConnections(t *testing.T) {
	for name, extra := range map[string]string{"closed": "", "unsolicited response": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"} {
		t.Run(name, func(t *testing.T) {
			more := make(chan struct{})
			addr, conns := app(t, func(number int64, conn net.Conn, in *bufio.Reader) {
				if number > 1 {
					answer(ok)(number, conn, in)
					return
				}
				_, _ = http.ReadRequest(in)
				_, _ = io.WriteString(conn, ok)
				<-more
				if extra != "" {
					_, _ = io.WriteString(conn, extra)
					_, _ = in.ReadByte() // until the client closes
				}
			})
			c := newClient(t)
			do(t, c, newRequest(t, "POST", addr, ""))
			kept := c.idle[addr][0]
			close(more)
			for end := time.Now().Add(20 * time.Second); !kept.socket.Pending(); {
				if time.Now().After(end) {
					t.Fatal("the connection still seems usable")
				}
			}
			if got := do(t, c, newRequest(t, "POST", addr, "x")); got != "ok" || conns.Load() != 2 {
				t.Errorf("%q on connection %d", got, conns.Load())
			}
		})
	}
}

// TestRepetition: only an idempotent request without a body is sent again, once, and only if its kept connection ended without a byte.
func TestRepetition(t *testing.T) {
	tests := map[string]struct {
		method, body, partly string
		key                  bool
		wantErr              bool
	}{
		"GET":                       {method: "GET"},
		"POST":                      {method: "POST", wantErr: true},
		"POST with a key":           {method: "POST", key: true},
		"PUT with a body":           {method: "PUT", body: "x", wantErr: true},
		"GET with a body":           {method: "GET", body: "x", wantErr: true},
		"GET, part of the response": {method: "GET", partly: "HTTP/1.1 2", wantErr: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			addr, _ := app(t, func(number int64, conn net.Conn, in *bufio.Reader) {
				if number > 1 {
					answer(ok)(number, conn, in)
					return
				}
				_, _ = http.ReadRequest(in)
				_, _ = io.WriteString(conn, ok)
				_, _ = http.ReadRequest(in)
				_, _ = io.WriteString(conn, tt.partly)
			})
			c := newClient(t)
			do(t, c, newRequest(t, "GET", addr, ""))
			r := newRequest(t, tt.method, addr, tt.body)
			if tt.key {
				r.In.Header.Set("Idempotency-Key", "1")
			}
			res, err := c.Do(r)
			if (err != nil) != tt.wantErr {
				t.Errorf("error %v", err)
			}
			if err == nil {
				res.Close()
			}
		})
	}
}

// TestBodyLength: a body that is shorter or longer than its Content-Length closes the connection.
func TestBodyLength(t *testing.T) {
	for name, length := range map[string]int64{"shorter": 9, "longer": 2} {
		addr, _ := app(t, func(_ int64, conn net.Conn, in *bufio.Reader) { _, _ = io.Copy(io.Discard, in) })
		r := newRequest(t, "POST", addr, "body")
		r.Length = length
		if _, err := newClient(t).Do(r); err == nil || !strings.Contains(err.Error(), "body") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBadRequests: nothing that could be read as two fields or requests is sent.
func TestBadRequests(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"method": func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\n" },
		"query":  func(r *http.Request) { r.URL.RawQuery = "a b" },
		"host":   func(r *http.Request) { r.Host = "a\r\nX: y" },
		"name":   func(r *http.Request) { r.Header["A: b\r\nC"] = []string{"d"} },
		"value":  func(r *http.Request) { r.Header["A"] = []string{"b\r\nC: d"} },
		"agent":  func(r *http.Request) { r.Header["User-Agent"] = []string{"b\nC: d"} },
	} {
		addr, _ := app(t, func(_ int64, conn net.Conn, in *bufio.Reader) {
			if b, _ := io.ReadAll(in); len(b) > 0 {
				t.Errorf("%s: the app got %q", name, b)
			}
		})
		r := newRequest(t, "GET", addr, "")
		change(r.In)
		if _, err := newClient(t).Do(r); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestContextEnds: the end of the context ends the wait for the head and for the body.
func TestContextEnds(t *testing.T) {
	for name, response := range map[string]string{"head": "", "body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"} {
		got := make(chan struct{}, 1)
		addr, _ := app(t, func(_ int64, conn net.Conn, in *bufio.Reader) {
			_, _ = http.ReadRequest(in)
			_, _ = io.WriteString(conn, response)
			got <- struct{}{}
			_, _ = in.ReadByte()
		})
		r := newRequest(t, "GET", addr, "")
		ctx, cancel := context.WithCancel(r.In.Context())
		r.In = r.In.WithContext(ctx)
		go func() { <-got; cancel() }()
		res, err := newClient(t).Do(r)
		if err == nil {
			_, err = readAll(res)
		}
		if err == nil || r.In.Context().Err() == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
