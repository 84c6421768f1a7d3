package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// hasty is an app that responds as soon as it has a request's head, and reads no body. It ends a response to POST after a value of
// finish. Every response names the connection and the request.
func hasty(t *testing.T, finish <-chan struct{}) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for number := 1; ; number++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if r.Method == http.MethodDelete { // the response waits for the next request: an earlier one ends the connection
						if _, err := in.Peek(1); err != nil {
							return
						}
					}
					name := fmt.Sprintf("%d %s %s", number, r.Method, r.URL.Path)
					fmt.Fprintf(conn, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(name), name)
					if r.Method == http.MethodPost {
						<-finish
					}
					fmt.Fprint(conn, "0\r\n\r\n")
				}
			}()
		}
	}()
	return l.Addr().String()
}

// speakHTTP1 is a stage that asks for HTTP/1.1 to the app.
func speakHTTP1(next stage.Handler) stage.Handler {
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		return next.ServeHTTP(w, request.With(r, &request.Info{UpstreamProtocol: request.HTTP1}))
	})
}

// TestEarlyResponses: a connection on which the app has responded before it had the whole body is not used for another request,
// which would get the response to what the app takes the rest of the body for. The client uses HTTP/2: in HTTP/1.1, net/http's server
// reads the whole body before it sends a response.
func TestEarlyResponses(t *testing.T) {
	const smuggled = "DELETE /admin HTTP/1.1\r\nHost: x\r\n\r\n"
	finish := make(chan struct{}, 1)
	d := open(t, hasty(t, finish), nil, speakHTTP1)
	body, sending := io.Pipe()
	go func() { _, _ = io.WriteString(sending, smuggled[:1]) }()
	r := request1(t, "POST", "http://"+d.addr+"/a", body)
	r.ContentLength = int64(len(smuggled))
	res, err := client(t, 2).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got := make([]byte, len("1 POST /a"))
	if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "1 POST /a" {
		t.Fatalf("%q, %v", got, err)
	}
	if len(res.Header["Connection"]) > 0 {
		t.Errorf("the client sees the added field: %v", res.Header)
	}
	if _, err := io.WriteString(sending, smuggled[1:]); err != nil {
		t.Fatalf("the rest of the body is not read: %v", err)
	}
	_ = sending.Close()
	finish <- struct{}{}
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Fatalf("%q, %v", rest, err)
	}
	if _, text := do(t, client(t, 1), request1(t, "GET", "http://"+d.addr+"/b", nil)); text != "2 GET /b" {
		t.Errorf("%q; want the response of another connection", text)
	}
}

// TestUploadsThatTheAppRefuses: an app that refuses an upload and closes the connection without reading it resets that connection. The
// client gets the whole response all the same. It says Connection: close: otherwise the next request can get the connection just before it is
// closed. Of a large response, the app's own kernel discards what it has not sent yet.
func TestUploadsThatTheAppRefuses(t *testing.T) {
	const size = 1000
	app := rawApp(t, fmt.Sprintf("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size)))
	for _, version := range []int{1, 2} {
		d := open(t, app, nil, speakHTTP1)
		for range 20 {
			body := io.LimitReader(zeros{}, 1<<20)
			res, text := do(t, client(t, version), request1(t, "POST", "http://"+d.addr+"/upload", io.NopCloser(body)))
			if res.StatusCode != http.StatusRequestEntityTooLarge || len(text) != size {
				t.Fatalf("HTTP/%d: %s and %d bytes; want 413 and %d", version, res.Status, len(text), size)
			}
		}
	}
}
