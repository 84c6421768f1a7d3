package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// ignorant is an app that reads no bodies, like Python's http.server: it takes a body for the next request, unless it is asked to
// close the connection. It counts the requests that it sees.
func ignorant(t *testing.T, seen *atomic.Int64, paths chan<- string) string {
	t.Helper()
	return connApp(t, func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			closing := false
			for {
				field, err := in.ReadString('\n')
				if err != nil || strings.TrimSpace(field) == "" {
					break
				}
				closing = closing || strings.EqualFold(strings.TrimSpace(field), "Connection: close")
			}
			seen.Add(1)
			paths <- line
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			if closing {
				return
			}
		}
	})
}

// TestIgnoredBodies: an app that does not read the body of a GET, HEAD or DELETE does not take it for the next request.
func TestIgnoredBodies(t *testing.T) {
	const smuggled = "DELETE /admin HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "PROPFIND"} {
		for framing, body := range map[string]string{
			"length": fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
			"chunks": fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled),
		} {
			t.Run(method+" "+framing, func(t *testing.T) {
				var seen atomic.Int64
				paths := make(chan string, 100)
				d := open(t, ignorant(t, &seen, paths), nil)
				got := raw(t, d.addr, method+" /a HTTP/1.1\r\nHost: x\r\n"+body+"GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				if n := strings.Count(got, "HTTP/1.1 200"); n != 2 {
					t.Errorf("%d responses: %q", n, got)
				}
				for range 2 {
					if line := <-paths; strings.Contains(line, "/admin") {
						t.Errorf("the app took the body for %q", line)
					}
				}
				if seen.Load() != 2 {
					t.Errorf("the app saw %d requests", seen.Load())
				}
			})
		}
	}
}

// TestConnectionsAreKept: requests whose body the app reads, and requests without one, do not ask the app to close.
func TestConnectionsAreKept(t *testing.T) {
	d := doorTo(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Close)
	})
	for method, body := range map[string]string{"GET": "", "DELETE": "", "POST": "x", "PUT": "x", "PATCH": "x"} {
		req, err := http.NewRequest(method, "http://"+d.addr, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client(t, 1).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(got) != "false" {
			t.Errorf("%s: Connection: close is %s", method, got)
		}
	}
}
