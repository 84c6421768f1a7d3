package client

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// watched is a connection that keeps what is written to it, write by write. If failing is set, writes fail before a byte is sent.
type watched struct {
	net.Conn
	writes  []string
	failing bool
}

func (w *watched) Write(b []byte) (int, error) {
	if w.failing {
		return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
	}
	w.writes = append(w.writes, string(b))
	return w.Conn.Write(b)
}

func (*watched) Pending() bool { return false }

// watchedClient keeps every connection that it dials in dialed.
func watchedClient(t *testing.T, dialed *[]*watched) *Client {
	t.Helper()
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		*dialed = append(*dialed, &watched{Conn: conn})
		return (*dialed)[len(*dialed)-1], nil
	}
	c := New(Config{Dial: dial, Idle: time.Minute, MaxIdle: 2, ExpectContinue: time.Minute})
	t.Cleanup(c.CloseIdle)
	return c
}

func arrived(t *testing.T, addr, body string) *Request {
	t.Helper()
	r := newRequest(t, "POST", addr, body)
	r.Arrived = true
	return r
}

// bodiesOf is an app that responds with ok to each request, and tells the request's body.
func bodiesOf(t *testing.T) (addr string, bodies <-chan string) {
	t.Helper()
	got := make(chan string, 2)
	addr, _ = app(t, func(_ int64, conn net.Conn, in *bufio.Reader) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			b, _ := io.ReadAll(r.Body)
			got <- string(b)
			_, _ = io.WriteString(conn, ok)
		}
	})
	return addr, got
}

// TestArrivedBody: a body that has arrived is sent in one write with the head, also if it is longer than the client's buffer.
func TestArrivedBody(t *testing.T) {
	addr, bodies := bodiesOf(t)
	var dialed []*watched
	c := watchedClient(t, &dialed)
	for i, body := range []string{"a", strings.Repeat("b", 2*bufferSize)} {
		if got := do(t, c, arrived(t, addr, body)); got != "ok" || <-bodies != body {
			t.Fatalf("%q, or another body", got)
		}
		if w := dialed[0].writes; len(dialed) != 1 || len(w) != i+1 || !strings.HasSuffix(w[i], "\r\n\r\n"+body) {
			t.Errorf("%d connections, %d writes", len(dialed), len(w))
		}
	}
}

// TestArrivedBodyBroken: nothing is sent of a request whose body is not what its length says, or cannot be read, and it is not repeated.
func TestArrivedBodyBroken(t *testing.T) {
	refused := errors.New("refused by a stage")
	for name, tt := range map[string]struct {
		body    io.Reader
		wantErr string
	}{
		"shorter":               {strings.NewReader("bod"), "1 bytes are missing"},
		"longer":                {strings.NewReader("bodies"), "longer than its Content-Length"},
		"an error":              {iotest.ErrReader(refused), refused.Error()},
		"an error at its end":   {io.MultiReader(strings.NewReader("body"), iotest.ErrReader(refused)), refused.Error()},
		"cut off by its client": {io.MultiReader(strings.NewReader("bo"), iotest.ErrReader(io.ErrUnexpectedEOF)), "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			addr, _ := app(t, answer(ok))
			var dialed []*watched
			c := watchedClient(t, &dialed)
			do(t, c, newRequest(t, "GET", addr, "")) // a kept connection is one for which a request could be repeated
			r := arrived(t, addr, "")
			r.Body, r.Length = tt.body, 4
			if _, err := c.Do(r); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("error %v", err)
			}
			if len(dialed) != 1 || len(dialed[0].writes) != 1 {
				t.Errorf("%d connections, %d writes to the first", len(dialed), len(dialed[0].writes))
			}
		})
	}
}

// TestArrivedBodyIsRepeated: a request of which nothing was sent, because its kept connection is closed, is sent on another one, with its body.
func TestArrivedBodyIsRepeated(t *testing.T) {
	addr, bodies := bodiesOf(t)
	var dialed []*watched
	c := watchedClient(t, &dialed)
	do(t, c, arrived(t, addr, "first"))
	dialed[0].failing = true
	if got := do(t, c, arrived(t, addr, "second")); got != "ok" || len(dialed) != 2 {
		t.Errorf("%q, %d connections", got, len(dialed))
	}
	if first, second := <-bodies, <-bodies; first != "first" || second != "second" {
		t.Errorf("the app got %q and %q", first, second)
	}
}
