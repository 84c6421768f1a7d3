//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// testProtocols: HTTP features that work without a sidecar also work with one.
func testProtocols(t *testing.T) {
	s := newSpace(t)
	s.apply(open, "ROUND", "0")
	s.create(pod(s.name, "orders"))
	p := s.ready("orders")
	s.enforced("orders", 1)
	address := net.JoinHostPort(p.Status.PodIP, fmt.Sprint(appPort))

	t.Run("WebSocket", func(t *testing.T) { checkWebSocket(t, address, podURL(p, 15991)+"/metrics") })
	t.Run("server-sent events", func(t *testing.T) { checkEvents(t, address) })
	t.Run("gRPC", func(t *testing.T) { checkGRPC(t, address) })
	t.Run("HTTP/2", func(t *testing.T) { checkHTTP2(t, address) })
	t.Run("trailers", func(t *testing.T) {
		if got := get(t, "http://"+address+"/trailers").wantStatus(t, 200); got.trailer.Get("X-Body-Bytes") != "18" {
			t.Errorf("trailers are %v", got.trailer)
		}
	})
	t.Run("100-continue", func(t *testing.T) { checkContinue(t, address) })
	t.Run("large bodies", func(t *testing.T) { checkLarge(t, address, podURL(p, 15991)+"/metrics") })
	t.Run("ambiguous requests", func(t *testing.T) { checkAmbiguous(t, address) })
	t.Run("slow header", func(t *testing.T) { checkSlowHeader(t, address) })
}

func checkWebSocket(t *testing.T, address, metrics string) {
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, want := range []string{"hello", strings.Repeat("long ", 5000), ""} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || string(got) != want {
			t.Fatalf("%d bytes came back as %d: %v", len(want), len(got), err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("closing: %v", err)
	}
	eventually(t, "waiting for the sidecar to count the connection", func() error {
		got, err := send(t, http.MethodGet, metrics, "")
		if err == nil && !strings.Contains(got.body, `postern_http_requests_total{code="101"`) {
			err = errors.New("it does not")
		}
		return err
	})
}

// checkEvents: the first event arrives although the second comes an hour later.
func checkEvents(t *testing.T, address string) {
	if stream := events(t, "http://"+address+"/sse?events=2&ms=3600000"); stream.Header.Get("X-Round") == "" {
		t.Errorf("got %v", stream.Header)
	}
}

// events opens a stream of server-sent events, and returns it after the first line. Reading fails after waitLimit.
func events(t *testing.T, url string, header ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Add(name, value)
	}
	response, err := watched{&http.Transport{DisableKeepAlives: true}}.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	body := bufio.NewReader(response.Body)
	line, err := body.ReadString('\n')
	if err != nil || line != "id: 0\n" {
		t.Errorf("%s: %d %q, %v, %v", url, response.StatusCode, line, response.Header, err)
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{body, response.Body}
	return response
}

func checkGRPC(t *testing.T, address string) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	reply, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || reply.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("Check: %v, %v", reply, err)
	}
	// A stream stays open, and its first message is not delayed.
	watch, err := healthpb.NewHealthClient(conn).Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := watch.Recv(); err != nil || reply.Status != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("Watch: %v, %v", reply, err)
	}
}

func checkHTTP2(t *testing.T, address string) {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}, Timeout: waitLimit}
	defer client.CloseIdleConnections()
	response, err := client.Post("http://"+address+"/x", "text/plain", strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.ProtoMajor != 2 || response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"bodyBytes":5`)) {
		t.Errorf("got %s %d %s %v", response.Proto, response.StatusCode, body, err)
	}
}

// raw is a plain TCP connection, which ends with the test.
func raw(t *testing.T, address string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, waitLimit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(waitLimit)); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// checkContinue: the app's 100 Continue arrives before the body is sent.
func checkContinue(t *testing.T, address string) {
	conn, reader := raw(t, address)
	fmt.Fprint(conn, "POST /x HTTP/1.1\r\nHost: orders\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	interim, err := http.ReadResponse(reader, nil)
	if err != nil || interim.StatusCode != http.StatusContinue {
		t.Fatalf("before the body: %v %v", interim, err)
	}
	fmt.Fprint(conn, "12345")
	final, err := http.ReadResponse(reader, nil)
	if err != nil || final.StatusCode != http.StatusOK {
		t.Fatalf("after the body: %v %v", final, err)
	}
	if body, err := io.ReadAll(final.Body); err != nil || !bytes.Contains(body, []byte(`"bodyBytes":5`)) {
		t.Errorf("the app saw %s %v", body, err)
	}
}

// checkAmbiguous: requests that two servers read differently are refused, and a request hidden in them never reaches the app.
func checkAmbiguous(t *testing.T, address string) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: orders\r\n\r\n"
	for name, head := range map[string]string{
		"Content-Length and Transfer-Encoding": "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"the other way round":                  "POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"two Content-Lengths":                  "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
		"unknown Transfer-Encoding":            "POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"chunked twice":                        "POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"signed Content-Length":                "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: +0\r\n\r\n",
		"blank before the colon":               "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length : 0\r\n\r\n",
		"folded line":                          "POST / HTTP/1.1\r\nHost: orders\r\nX-A: b\r\n Content-Length: 40\r\n\r\n",
		"bare line feed":                       "POST / HTTP/1.1\nHost: orders\nContent-Length: 0\n\n",
		"two hosts":                            "GET / HTTP/1.1\r\nHost: orders\r\nHost: other\r\n\r\n",
		"no host":                              "GET / HTTP/1.1\r\n\r\n",
		"dot segments behind an escape":        "GET /public/%2e%2e%2fadmin HTTP/1.1\r\nHost: orders\r\n\r\n",
		"NUL in the path":                      "GET /a%00b HTTP/1.1\r\nHost: orders\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, reader := raw(t, address)
			fmt.Fprint(conn, head)
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			if response.StatusCode != http.StatusBadRequest {
				t.Errorf("status %d", response.StatusCode)
			}
			if strings.Contains(name, "path") || strings.Contains(name, "escape") {
				return // the end of this request is unambiguous
			}
			fmt.Fprint(conn, smuggled)
			rest, _ := io.ReadAll(reader)
			if bytes.Contains(rest, []byte("/smuggled")) || bytes.Contains(rest, []byte("200 OK")) {
				t.Errorf("the hidden request got a response: %.300q", rest)
			}
		})
	}
}

// checkSlowHeader: a client that never ends the header does not keep the connection.
func checkSlowHeader(t *testing.T, address string) {
	conn, reader := raw(t, address)
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: orders\r\nX-Slow: ")
	rest, err := io.ReadAll(reader)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the connection was not closed: %v, after %q", err, rest)
	}
	if bytes.Contains(rest, []byte("200 OK")) {
		t.Errorf("an incomplete request got a response: %.300q", rest)
	}
}
