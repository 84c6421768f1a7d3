package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/conn/nonblock"
)

// bareListener accepts connections as package listen does, or, above TLS, without Await.
type bareListener struct {
	net.Listener
	above bool
}

func (l bareListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil || l.above {
		return c, err
	}
	return nonblock.New(c.(*net.TCPConn)), nil
}

// parkedConn returns a connection that waits for its second request in park.
func parkedConn(t *testing.T, above bool, config Config) (*Server, net.Conn, *bufio.Reader) {
	t.Helper()
	config.Times.Park = time.Millisecond
	config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %d", r.URL.Path, b, r.Header.Get("X-First"), len(w.Header()))
	})
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(bareListener{l, above}) }()
	t.Cleanup(func() { _ = s.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	in := bufio.NewReader(c)
	if got := send(t, c, in, "POST /1 HTTP/1.1\r\nHost: a\r\nX-First: yes\r\nContent-Length: 3\r\n\r\nabc"); got != "/1 abc yes 0" {
		t.Fatalf("the first response is %q", got)
	}
	awaitParked(t)
	return s, c, in
}

// awaitParked waits until a connection is in park.
func awaitParked(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), "(*conn).arrives(") {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no connection is parked")
		}
	}
}

func send(t *testing.T, c net.Conn, in *bufio.Reader, request string) (body string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestParked: a connection that was idle for some time serves its next requests, ends, and is closed, as any other.
func TestParked(t *testing.T) {
	const get = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
	for kind, above := range map[string]bool{"plain": false, "above TLS": true} {
		tests := map[string]func(t *testing.T, s *Server, c net.Conn, in *bufio.Reader){
			"request": func(t *testing.T, _ *Server, c net.Conn, in *bufio.Reader) {
				for range 3 {
					if got := send(t, c, in, get); got != "/2   0" {
						t.Errorf("%q", got)
					}
					awaitParked(t)
				}
			},
			"two requests at once": func(t *testing.T, _ *Server, c net.Conn, in *bufio.Reader) {
				for _, next := range []string{get + get, ""} {
					if got := send(t, c, in, next); got != "/2   0" {
						t.Errorf("%q", got)
					}
				}
			},
			"a head in two parts": func(t *testing.T, _ *Server, c net.Conn, in *bufio.Reader) {
				_, _ = io.WriteString(c, get[:1])
				time.Sleep(20 * time.Millisecond) // most likely it is read alone
				if got := send(t, c, in, get[1:]); got != "/2   0" {
					t.Errorf("%q", got)
				}
			},
			"malformed": func(t *testing.T, _ *Server, c net.Conn, in *bufio.Reader) {
				if got := send(t, c, in, "GET /2 HTTP/1.1\nHost: a\r\n\r\n"); !strings.Contains(got, `"status":400`) {
					t.Errorf("%q", got)
				}
			},
			"the client closes": func(t *testing.T, s *Server, c net.Conn, _ *bufio.Reader) {
				_ = c.Close()
				awaitEmpty(t, s)
			},
			"Shutdown": func(t *testing.T, s *Server, c net.Conn, in *bufio.Reader) {
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				awaitEnd(t, c, in)
			},
		}
		for name, test := range tests {
			t.Run(kind+"/"+name, func(t *testing.T) {
				s, c, in := parkedConn(t, above, Config{})
				test(t, s, c, in)
			})
		}
		t.Run(kind+"/idle for too long", func(t *testing.T) {
			_, c, in := parkedConn(t, above, Config{Times: Times{Idle: 300 * time.Millisecond}})
			awaitEnd(t, c, in)
		})
	}
}

func awaitEmpty(t *testing.T, s *Server) {
	t.Helper()
	open := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.conns)
	}
	for end := time.Now().Add(20 * time.Second); open() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the connection is not closed")
		}
	}
}

func awaitEnd(t *testing.T, c net.Conn, in *bufio.Reader) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// TestSlotIsClean: nothing of a request is left for the next one, which may be another client's.
func TestSlotIsClean(t *testing.T) {
	s := &slot{}
	s.request.header, s.response.header = http.Header{}, http.Header{"X-Secret": {"a"}}
	s.response.status, s.response.trailers, s.response.length = 200, []string{"X-Secret"}, 7
	for i := range 5 * usualFields {
		s.marks.fields = append(s.marks.fields, mark{name: i})
	}
	s.clean()
	if len(s.response.header) > 0 || s.response.status != 0 || s.response.trailers != nil || s.response.length != 0 || s.marks.fields != nil {
		t.Errorf("%+v", s)
	}
}

// TestLargeIsGivenBack: what a large request needed is not kept until the connection is parked, since its next request may come before.
func TestLargeIsGivenBack(t *testing.T) {
	for name, grow := range map[string]func(*conn){
		"a long head": func(c *conn) { c.buf = make([]byte, 2*bufferSize) },
		"many fields": func(c *conn) { c.slot.marks.fields = make([]mark, 0, 5*usualFields) },
	} {
		t.Run(name, func(t *testing.T) {
			client, inner := net.Pipe()
			s, err := New(Config{Handler: http.NotFoundHandler()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			c := newConn(s, inner)
			c.state.Store(stateActive)
			c.body = &body{none: true, eof: true}
			c.takeSlot()
			grow(c)
			_ = client.Close()
			if c.awaitHead() || len(c.buf) > bufferSize || c.slot != nil {
				t.Errorf("%d bytes, slot %p", len(c.buf), c.slot)
			}
		})
	}
}
