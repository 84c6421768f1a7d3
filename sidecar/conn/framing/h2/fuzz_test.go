package h2

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// script is a connection whose peer sends bytes and then nothing, and does not read.
type script struct {
	net.Conn
	read   func([]byte) (int, error)
	closed chan struct{}
	once   sync.Once
}

func (s *script) Read(p []byte) (int, error)       { return s.read(p) }
func (s *script) Write(p []byte) (int, error)      { return len(p), nil }
func (s *script) Close() error                     { s.once.Do(func() { close(s.closed) }); return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// one is a listener of one connection.
type one struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (o *one) Accept() (net.Conn, error) {
	select {
	case c := <-o.conn:
		return c, nil
	case <-o.closed:
		return nil, net.ErrClosed
	}
}
func (o *one) Close() error   { o.once.Do(func() { close(o.closed) }); return nil }
func (o *one) Addr() net.Addr { return &net.TCPAddr{} }

// served are the requests that net/http passes to its handler.
type served struct {
	layered  bool
	mu       sync.Mutex
	requests []string
	refused  int
}

// ServeHTTP records a request with everything that a handler can see of it.
func (s *served) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var refusal *httperr.Error
	if s.layered {
		r, refusal = Refused(r)
	} else {
		r.Header.Del(tokenHeader) // a Reader removes it
	}
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	if refusal != nil {
		s.refused++
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %q %d %q %v", r.Method, r.RequestURI, r.Host, r.ContentLength, body, err)
	for _, h := range []http.Header{r.Header, r.Trailer} {
		for _, name := range slices.Sorted(maps.Keys(h)) {
			fmt.Fprintf(&b, " %q: %q", name, h[name])
		}
	}
	s.requests = append(s.requests, b.String())
}

// serve returns what net/http passes on of input, with or without a Reader, and the number of refusals.
func serve(t *testing.T, input []byte, layered bool) (out *served, refusals int) {
	out = &served{layered: layered}
	synctest.Test(t, func(*testing.T) {
		conn := &script{closed: make(chan struct{})}
		next := pieces(input, 1<<20)
		conn.read = func(p []byte) (int, error) {
			n, err := next(p)
			if err != nil {
				<-conn.closed
			}
			return n, err
		}
		if layered {
			conn.read = NewReader(conn.read, Config{ListBytes: listBytes, OnRefuse: func(*httperr.Error) { refusals++ }}).Read
		}
		protocols := &http.Protocols{}
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		server := &http.Server{
			Handler: out, Protocols: protocols, MaxHeaderBytes: 64 << 10, ErrorLog: log.New(io.Discard, "", 0),
			HTTP2: &http.HTTP2Config{MaxReadFrameSize: MaxFrame},
		}
		listener := &one{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		listener.conn <- conn
		go func() { _ = server.Serve(listener) }()
		synctest.Wait() // everything is processed
		_ = conn.Close()
		_ = server.Close()
		time.Sleep(time.Minute) // the bubble's time: all goroutines end
	})
	slices.Sort(out.requests)
	return out, refusals
}

// seeds are the frames of some connections, without the preface.
func seeds() [][]byte {
	c := newClient().headers(1, good...).headers(3, good...)
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, EndHeaders: true, PadLength: 3, Priority: http2.PriorityParam{StreamDep: 1, Weight: 9}, BlockFragment: c.encode(append(slices.Clone(good), "trailer", "x-end", "content-length", "4")...)})
	_ = c.framer.WriteData(5, false, []byte("body"))
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 5, EndStream: true, EndHeaders: true, BlockFragment: c.encode("x-end", "end")})
	many := [][]byte{c.sent.Bytes()}
	for _, fields := range refusedSeeds {
		c := newClient().headers(1, good...)
		c.fields.SetMaxDynamicTableSize(100)
		c.headers(3, append(slices.Clone(good[:6]), fields...)...).headers(5, good...)
		_ = c.framer.WriteRSTStream(3, http2.ErrCodeCancel)
		_ = c.framer.WritePing(false, [8]byte{})
		block := c.encode(good...)
		_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 7, EndStream: true, BlockFragment: block[:5]})
		_ = c.framer.WriteContinuation(7, true, block[5:])
		many = append(many, c.sent.Bytes())
	}
	for i := range many {
		many[i] = many[i][len(Preface):]
	}
	return many
}

var refusedSeeds = [][]string{
	{":path", "/a%zz"}, {":path", "!"}, {":path", "*"}, {":path", "//a"}, {":path", "http://a/b%2"}, {":path", "/ä \x80"}, {":path", "/?%"}, {":path", "/", "connection", "x"},
	{":path", "/", "te", "x"}, {":path", "/", "Upper", "x"}, {":path", "/", "x", "a\nb"}, {":path", "/", "content-length", "1, 1"}, {"x", "y", ":path", "/"},
	{":path", "/", "postern-refused", "1 2 3"}, {":path", "/", "cookie", "a", "cookie", "b", "expect", "100-continue", "te", "trailers", "te", ""}, {":path", "/", "host", "b"},
}

// FuzzAgreesWithNetHTTP checks that net/http passes on the same requests with and without a Reader, if the Reader refuses none.
func FuzzAgreesWithNetHTTP(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 32<<10 {
			return // flow control depends on time
		}
		input = append([]byte(Preface), input...)
		layered, refusals := serve(t, input, true)
		if layered.refused > refusals {
			t.Fatalf("%d refused requests of %d", layered.refused, refusals)
		}
		if refusals > 0 {
			return
		}
		if raw, _ := serve(t, input, false); !slices.Equal(raw.requests, layered.requests) {
			t.Fatalf("requests\n%q\nwant\n%q", layered.requests, raw.requests)
		}
	})
}

// FuzzReader checks that any bytes in any pieces give the same frames, and that the memory is bounded.
func FuzzReader(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed, uint16(1<<15))
		f.Add(seed, uint16(1))
	}
	f.Fuzz(func(t *testing.T, input []byte, size uint16) {
		input = append([]byte(Preface), input...)
		if size == 0 {
			return
		}
		r := NewReader(pieces(input, int(size)), Config{ListBytes: listBytes})
		var out []byte
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			out = append(out, buf[:n]...)
			if s := r.block.scratch; s != nil && (cap(s.frame) > 2*MaxFrame || cap(s.out) > 4*listBytes || len(s.fields) > listBytes/32) {
				t.Fatalf("%d bytes of a frame, %d of output, %d fields", cap(s.frame), cap(s.out), len(s.fields))
			}
			if err != nil {
				break
			}
			if n == 0 {
				t.Fatal("no progress")
			}
		}
		if whole, _ := through(t, input, 1<<20); !bytes.Equal(whole, out) {
			t.Fatalf("pieces of %d give other frames", size)
		}
	})
}
