package server

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/conn/http1/wire"
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

// run serves s to its end.
func run(t testing.TB, s *script, config Config) {
	t.Helper()
	if config.Handler == nil {
		config.Handler = http.NotFoundHandler()
	}
	server, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	server.sweeper.tick()
	newConn(server, s).serve()
}

// served is what a handler got.
type served struct {
	request *http.Request
	body    []byte
	err     error
}

// FuzzAgreesWithNetHTTP checks that net/http reads each request that a handler gets as the same request with the same body, and that the
// two agree where it ends.
func FuzzAgreesWithNetHTTP(f *testing.F) {
	chunked := post + "Transfer-Encoding: chunked\r\n\r\n"
	for _, seed := range []string{
		get, get + get, post + "Content-Length: 5\r\n\r\nhello" + get, chunked + "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + get,
		post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", chunked + "5\nhello\r\n0\r\n\r\n",
		"POST /a HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc" + get, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		chunked + "0\r\nTrailer: x\r\n\r\n" + get, "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n" + get, post + "Content-Length: 0\r\n\r\n\r\n" + get,
		chunked[:len(chunked)-2] + "Trailer: X-A, Content-Length \r\n\r\n0\r\n\r\n", "GET http://[::1]:80/a HTTP/1.1\r\nHost: a\r\n\r\n",
		chunked[:len(chunked)-2] + "Trailer: X-A, b\r\n\r\n3\r\nabc\r\n0\r\nX-A: 1\r\nx-a: 2\r\nC: 3\r\n\r\n" + get,
		post + "Expect: 100-continue\r\nContent-Length: 1\r\n\r\na", "GET https://a.b:8?c HTTP/1.1\r\nHost: [::1]\r\nExpect: a\r\n\r\n",
		"GET //a/b?c? HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\nx: 1\r\nX: 2\r\nConnection: a, Close\r\n\r\n", "GET /%41%2f[]|\xc3\xa9? HTTP/1.0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost:\r\nTrailer: a\r\nuser_agent: a\r\nuser-Agent:\tb \r\n\r\n", "GET /;a,b!'(*)#c HTTP/1.1\r\nHost: a\r\nDnt: \xff\r\n\r\n",
	} {
		f.Add([]byte(seed), uint16(4096))
		f.Add([]byte(seed), uint16(1))
	}
	f.Fuzz(func(t *testing.T, input []byte, size uint16) {
		if size == 0 {
			return
		}
		theirs := bufio.NewReader(bytes.NewReader(input))
		run(t, &script{input: bytes.Clone(input), size: int(size)}, Config{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got := served{request: r}
			got.body, got.err = io.ReadAll(r.Body)
			compare(t, got, theirs)
		})})
	})
}

// compare compares a request with the next one that net/http reads.
func compare(t *testing.T, got served, theirs *bufio.Reader) {
	want, err := http.ReadRequest(theirs)
	if err != nil {
		t.Fatalf("net/http refuses a request that was served, %s %s: %v", got.request.Method, got.request.RequestURI, err)
	}
	body, err := io.ReadAll(want.Body)
	r := got.request
	if got.err == nil && (err != nil || !bytes.Equal(body, got.body)) {
		t.Fatalf("the body is %q; net/http reads %q, %v", got.body, body, err)
	}
	if got.err != nil && !bytes.HasPrefix(body, got.body) {
		t.Fatalf("the refused body begins with %q; net/http reads %q", got.body, body)
	}
	if got.err != nil {
		r.Trailer, want.Trailer = nil, nil
	}
	if e := r.Header.Get("Expect"); e != "" && !strings.EqualFold(e, "100-continue") {
		t.Fatalf("net/http refuses the expectation %q by itself", e)
	}
	want.Header.Del("Host")
	want.Trailer = named(want.Trailer)
	ours := []any{r.Method, r.RequestURI, *r.URL, r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor, r.Header, r.ContentLength, r.TransferEncoding, r.Close, r.Trailer}
	for i, value := range []any{want.Method, want.RequestURI, *want.URL, want.Host, want.Proto, want.ProtoMajor, want.ProtoMinor, want.Header,
		want.ContentLength, want.TransferEncoding, want.Close, want.Trailer} {
		if !reflect.DeepEqual(ours[i], value) {
			t.Fatalf("part %d of the request is %#v; net/http reads %#v", i, ours[i], value)
		}
	}
}

// named removes what is no name: net/http announces it as a trailer, although no trailer can have it.
func named(trailer http.Header) http.Header {
	maps.DeleteFunc(trailer, func(name string, _ []string) bool { return !wire.IsName(name) })
	if len(trailer) == 0 {
		return nil
	}
	return trailer
}

// FuzzChunked checks that a body that is read in any pieces is what a simple reading of RFC 9112 finds in it.
func FuzzChunked(f *testing.F) {
	for _, seed := range []string{"5\r\nhello\r\n0\r\n\r\n", "1;a\r\nx\r\n00\r\nA: b\r\n\r\n", "5\nhello", "fffffffffffffffff\r\n", "0\r\nHost: a\r\n\r\n"} {
		f.Add([]byte(seed), uint16(4096), uint16(4096))
		f.Add([]byte(seed), uint16(1), uint16(3))
	}
	f.Fuzz(func(t *testing.T, input []byte, size, step uint16) {
		if size == 0 || step == 0 {
			return
		}
		message := append([]byte(post+"Transfer-Encoding: chunked\r\n\r\n"), input...)
		once := false
		run(t, &script{input: bytes.Clone(message), size: int(size)}, Config{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if once {
				return // the bytes after the body were a request
			}
			once = true
			var body []byte
			piece := make([]byte, step)
			for {
				n, err := r.Body.Read(piece)
				body = append(body, piece[:n]...)
				if err == nil {
					continue
				}
				if err != io.EOF {
					return
				}
				break
			}
			if want := decode(t, message); !bytes.Equal(body, want) {
				t.Fatalf("the body is %q, want %q", body, want)
			}
		})})
	})
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
