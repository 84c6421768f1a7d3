package framing

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// script is a connection whose peer sends input in pieces of size and then closes; it records what is written.
type script struct {
	net.Conn
	input   []byte
	size    int
	written bytes.Buffer
	closed  bool
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.input) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.input[:min(s.size, len(s.input))])
	s.input = s.input[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error)      { return s.written.Write(p) }
func (s *script) Close() error                     { s.closed = true; return nil }
func (s *script) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// messages reads c to its end, and returns the bytes of each complete message that it passed, and of the last, incomplete one.
func messages(c *Conn) (whole [][]byte, cut []byte, refused bool) {
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		cut = append(cut, buf[:n]...)
		if n > 0 && c.scan.state == atStart && c.broken.Load() == nil {
			whole, cut = append(whole, cut), nil
		}
		if err != nil {
			var operation *net.OpError
			return whole, cut, errors.As(err, &operation)
		}
	}
}

// FuzzAgreesWithNetHTTP checks that net/http reads each passed message as exactly one message with the same bytes and
// the same body, and does not refuse its head: its own refusals are in no log.
func FuzzAgreesWithNetHTTP(f *testing.F) {
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n"
	for _, seed := range []string{
		get, get + get, post + "Content-Length: 5\r\n\r\nhello" + get, chunked + "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + get,
		post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", chunked + "5\nhello\r\n0\r\n\r\n",
		"POST /a HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc" + get, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		chunked + "0\r\nTrailer: x\r\n\r\n" + get, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n" + get, post + "Content-Length: 0\r\n\r\n\r\n" + get,
		chunked[:len(chunked)-2] + "Trailer: X-A, Content-Length \r\n\r\n0\r\n\r\n", "GET http://[::1]:80/a HTTP/1.1\r\nHost: a\r\n\r\n",
		post + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\na", "GET https://a.b:8?c HTTP/1.1\r\nHost: [::1]\r\nExpect: a\r\n\r\n",
	} {
		f.Add([]byte(seed), uint16(4096))
		f.Add([]byte(seed), uint16(1))
	}
	f.Fuzz(func(t *testing.T, input []byte, size uint16) {
		if size == 0 {
			return
		}
		c := watch(&script{input: bytes.Clone(input), size: int(size)}, Config{})
		whole, cut, refused := messages(c)
		passed := 0
		for _, message := range whole {
			passed += len(message)
			checkOne(t, message)
		}
		if !bytes.HasPrefix(input, append(bytes.Join(whole, nil), cut...)) {
			t.Fatal("bytes were changed")
		}
		if refused && c.scan.heads == uint64(len(whole)) {
			if r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(cut))); err == nil {
				t.Fatalf("net/http accepts a refused head as a request: %s %s", r.Method, r.URL)
			}
		}
		if !refused && passed+len(cut) != len(input) {
			t.Fatal("bytes were lost")
		}
	})
}

func checkOne(t *testing.T, message []byte) {
	reader := bufio.NewReader(bytes.NewReader(message))
	r, err := http.ReadRequest(reader)
	if err != nil {
		t.Fatalf("net/http refuses %q by itself: %v", message, err)
	}
	if e := r.Header.Get("Expect"); e != "" && !strings.EqualFold(e, "100-continue") {
		t.Fatalf("net/http refuses %q by itself", e)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if rest, _ := io.ReadAll(reader); len(rest) > 0 {
		t.Fatalf("net/http sees the end of %q before %q", message, rest)
	}
	if want := decode(t, message); !bytes.Equal(body, want) {
		t.Fatalf("net/http reads the body %q, want %q", body, want)
	}
}

// decode returns the body of a well-formed message, by a simple reading of RFC 9112.
func decode(t *testing.T, message []byte) []byte {
	head, rest, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	if !bytes.Contains(bytes.ToLower(head), []byte("\ntransfer-encoding:")) {
		return rest
	}
	var body []byte
	for {
		line, after, _ := bytes.Cut(rest, []byte("\r\n"))
		digits, _, _ := bytes.Cut(line, []byte(";"))
		size, err := strconv.ParseUint(string(digits), 16, 60)
		if err != nil || size > uint64(len(after)) {
			t.Fatalf("chunk of %q bytes in a message of %d", digits, len(message))
		}
		if size == 0 {
			return body
		}
		body, rest = append(body, after[:size]...), after[size+2:]
	}
}
