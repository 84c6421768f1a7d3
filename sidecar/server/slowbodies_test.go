package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// trickle is a body of single bytes, with a pause before each.
type trickle struct {
	pause time.Duration
	stop  <-chan struct{}
}

func (b trickle) Read(p []byte) (int, error) {
	select {
	case <-b.stop:
		return 0, io.ErrUnexpectedEOF
	case <-time.After(b.pause):
		p[0] = 'a'
		return 1, nil
	}
}

// TestSlowBodyEnds: in both protocols a body with a byte now and then ends, and is counted, and one of a gRPC call does not.
func TestSlowBodyEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		rate        int
		contentType string
		wantEnd     bool
	}{
		"a rate":           {rate: 1000, wantEnd: true},
		"no rate":          {rate: 0},
		"a gRPC's content": {rate: 1000, contentType: "application/grpc+proto"},
		"gRPC-Web's":       {rate: 1000, contentType: "application/grpc-web+proto", wantEnd: true},
	} {
		t.Run(name, func(t *testing.T) {
			slow, read := make(chan struct{}, 10), make(chan error, 10)
			times := stallConfig{
				stall: time.Hour, window: 200 * time.Millisecond, minRate: func() int { return tt.rate }, onSlow: func() { slow <- struct{}{} },
			}
			handler := func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.CopyN(io.Discard, r.Body, 40)
				read <- err
			}
			forEachProtocol(t, times, handler, func(t *testing.T, url string, client *http.Client) {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, trickle{pause: 20 * time.Millisecond, stop: t.Context().Done()})
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Content-Type", tt.contentType)
				if resp, err := client.Do(r); err == nil {
					resp.Body.Close()
				}
				err = <-read
				wantEnd := tt.wantEnd || tt.contentType != "" && strings.HasSuffix(t.Name(), "1.1") // gRPC needs HTTP/2
				if errors.Is(err, os.ErrDeadlineExceeded) != wantEnd || (len(slow) > 0) != wantEnd {
					t.Errorf("the body ended with %v, %d are counted", err, len(slow))
				}
				for len(slow) > 0 {
					<-slow
				}
			})
		})
	}
}

// TestWaitingForTheAppIsNotSlow: only the time in which the sidecar waits for the client counts.
func TestWaitingForTheAppIsNotSlow(t *testing.T) {
	read := make(chan error, 1)
	times := stallConfig{stall: time.Hour, window: 100 * time.Millisecond, minRate: func() int { return 1000 }}
	handler := func(_ http.ResponseWriter, r *http.Request) {
		buf := make([]byte, 1)
		var err error
		for range 5 {
			if _, err = io.ReadFull(r.Body, buf); err != nil {
				break
			}
			time.Sleep(60 * time.Millisecond) // an app that takes its time
		}
		read <- err
	}
	forEachProtocol(t, times, handler, func(t *testing.T, url string, client *http.Client) {
		resp, err := client.Post(url, "text/plain", strings.NewReader("abcdefgh"))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if err := <-read; err != nil {
			t.Error(err)
		}
	})
}

// TestRefusalDoesNotWaitForTheBody: a client that has sent a part of its body gets the response at once, and then the connection ends. A
// body that is there keeps the connection.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	address := serveApp(t, stallConfig{stall: time.Hour}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	forEachHead := map[string]struct {
		head      string
		wantClose bool
	}{
		"a part":           {"Content-Length: 10\r\n\r\nabc", true},
		"a part of chunks": {"Transfer-Encoding: chunked\r\n\r\n5\r\nabc", true},
		"all":              {"Content-Length: 3\r\n\r\nabc", false},
		"all chunks":       {"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false},
	}
	for name, tt := range forEachHead {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, address, fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\n%s", tt.head))
			resp := response1(t, conn)
			if resp.StatusCode != http.StatusForbidden || resp.Close != tt.wantClose {
				t.Errorf("status %d, close %t; want close %t", resp.StatusCode, resp.Close, tt.wantClose)
			}
			if !tt.wantClose {
				return
			}
			// What follows must not be read as another request.
			_, _ = io.WriteString(conn, "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
			if rest, err := io.ReadAll(conn); err == nil && len(rest) > 0 {
				t.Errorf("a second response: %q", rest)
			}
		})
	}
}
