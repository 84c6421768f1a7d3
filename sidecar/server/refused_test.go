package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// sent sends text to the app's port and returns the response.
func (r *running) sent(t *testing.T, text string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, text)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// visible makes refusals visible: headers, CORS and the access log.
func visible(p *compiled.Policy) {
	p.Headers = &compiled.Headers{Preset: "Strict", HeaderRules: compiled.HeaderRules{Set: []compiled.HeaderField{{Name: "X-Policy", Value: "here"}}}}
	p.CORS = &compiled.CORS{AllowOrigins: []string{"https://b.example"}}
	p.Sidecar.AccessLog = "All"
}

// TestRefusedHeads: what is refused before net/http reads it has the policy's headers, a line in the access log and a place in the
// metrics, as other refusals have, and never reaches the app, also after the policy was deleted.
func TestRefusedHeads(t *testing.T) {
	const host, origin = "Host: a\r\n", "Origin: https://b.example\r\n\r\n"
	heads := map[string]struct{ head, line string }{
		"a broken escape":    {"GET /a%zz?token=secret HTTP/1.1\r\n" + host, "method=GET path=/a%zz status=400"},
		"no path":            {"GET ! HTTP/1.1\r\n" + host, "method=GET path=! status=400"},
		"another path":       {"PUT .git/config HTTP/1.1\r\n" + host, "method=PUT path=.git/config status=400"},
		"two hosts":          {"GET /hosts HTTP/1.1\r\nHost: a, b\r\n", "method=GET path=/hosts status=400"},
		"an ambiguous field": {"GET /field HTTP/1.1\r\n" + host + "X : y\r\n", "method=GET path=/field status=400"},
		"another version":    {"GET /version HTTP/3.0\r\n" + host, "method=GET path=/version status=505"},
	}
	for name, deleted := range map[string]bool{"active": false, "deleted": true} {
		t.Run(name, func(t *testing.T) {
			var arrived atomic.Int32
			r := startStandalone(t, makeDocument(func(p *compiled.Policy) { visible(p); p.Deleted = deleted }), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
			for name, tt := range heads {
				resp := r.sent(t, tt.head+origin)
				if h := resp.Header; !deleted && (h.Get("X-Policy") != "here" || h.Get("Access-Control-Allow-Origin") != "https://b.example") {
					t.Errorf("%s: %s %v", name, resp.Status, h)
				}
				if resp.Header.Get("Content-Type") != "application/problem+json" || !resp.Close {
					t.Errorf("%s: %s %v", name, resp.Status, resp.Header)
				}
				r.log.await(t, 1, tt.line)
			}
			if _, metrics, err := r.ask("/metrics"); err != nil || !strings.Contains(metrics, `code="505",method="GET"`) || !strings.Contains(metrics, `stage="framing"`) {
				t.Errorf("the metrics do not have the requests, %v", err)
			}
			if strings.Contains(r.log.b.String(), "secret") {
				t.Error("the log has a query")
			}
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			if arrived.Load() > 0 {
				t.Errorf("%d refused requests reached the app", arrived.Load())
			}
		})
	}
}

// TestRefusedBodies: a body whose framing breaks while it is sent to the app is refused like a malformed head. net/http takes it for a
// client that has disconnected.
func TestRefusedBodies(t *testing.T) {
	got := make(chan error, 8)
	r := startStandalone(t, makeDocument(visible), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 5))
		got <- nil
		_, err := io.Copy(io.Discard, r.Body)
		got <- err
	}))
	for range 4 {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(conn, "POST /body HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		<-got
		fmt.Fprint(conn, "zz\r\n"+strings.Repeat("x", 32<<10)) // the client does not wait
		answer, err := io.ReadAll(conn)
		if err != nil {
			t.Errorf("the connection was reset: %v", err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		if h := resp.Header; resp.StatusCode != 400 || h.Get("X-Policy") != "here" || h.Get("Access-Control-Allow-Origin") == "" || !resp.Close || !strings.Contains(string(body), "malformed-chunk-size") {
			t.Errorf("%s %v %s", resp.Status, h, body)
		}
		if err := <-got; err == nil {
			t.Error("the app took a part of the body for the whole")
		}
	}
	r.log.await(t, 4, "path=/body status=400")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// TestOverloadIsVisible: a request for which there is no place is refused with the policy's headers and counted. It is not in the
// access log: a flood has one line for many refusals.
func TestOverloadIsVisible(t *testing.T) {
	arrived, proceed := make(chan struct{}), make(chan struct{})
	r := startStandalone(t, makeDocument(func(p *compiled.Policy) {
		visible(p)
		p.Sidecar.Requests = &compiled.RequestLimits{Max: 1, MaxPerAddress: 1}
	}), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(arrived); <-proceed }))
	held := asked(r.address + "/held")
	<-arrived
	resp := r.sent(t, "GET /refused HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\n\r\n")
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable && resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("%s %s, %v", resp.Status, body, err)
	}
	if h := resp.Header; h.Get("X-Policy") != "here" || h.Get("Access-Control-Allow-Origin") != "https://b.example" || h.Get("Retry-After") != "1" {
		t.Errorf("%v", h)
	}
	_, metrics, err := r.ask("/metrics")
	if want := fmt.Sprintf(`code="%d",method="GET"`, resp.StatusCode); err != nil || !strings.Contains(metrics, want) || !strings.Contains(metrics, `stage="overload"`) {
		t.Errorf("the metrics do not have %s, %v", want, err)
	}
	close(proceed)
	<-held
	r.log.await(t, 1, "path=/held")
	r.log.await(t, 1, "request refused because of a budget")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(r.log.b.String(), "path=/refused") {
		t.Error("the refusal is in the access log")
	}
}
