package deliver

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// serve runs a Server on a loopback port, with the certificate of httptest.
func serve(t *testing.T, h *Handler) (url string, c *http.Client, stop func() error) {
	t.Helper()
	borrowed := httptest.NewTLSServer(http.NotFoundHandler())
	defer borrowed.Close()
	certificate := borrowed.TLS.Certificates[0]
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Listener: listener, Handler: h,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil },
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	t.Cleanup(cancel)
	return "https://" + listener.Addr().String() + compiled.PollPath, borrowed.Client(), func() error {
		cancel()
		return <-ended
	}
}

func post(t *testing.T, c *http.Client, url string) (int, error) {
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(`{"hash":"sha256:a"}`))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer right")
	response, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, err
}

// waitHeld waits until n polls are held.
func waitHeld(t *testing.T, h *Handler, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		h.cfg.Documents.mu.Lock()
		waiting := 0
		for _, e := range h.cfg.Documents.entries {
			waiting += e.waiters
		}
		h.cfg.Documents.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d polls are held, want %d", waiting, n)
		}
	}
}

// TestServerEndsHeldPolls checks that a replica that stops responds to the polls that it holds at once.
func TestServerEndsHeldPolls(t *testing.T) {
	f := newFixture(t, sidecarPod("orders"))
	f.cfg.Hold = time.Hour
	url, c, stop := serve(t, f.Handler)
	codes := make(chan int, 2)
	for range 2 {
		go func() {
			code, err := post(t, c, url)
			if err != nil {
				t.Error(err)
			}
			codes <- code
		}()
	}
	waitHeld(t, f.Handler, 2)
	if code, err := post(t, c, url); err != nil || code != http.StatusTooManyRequests {
		t.Errorf("the response to a third poll of the pod is %d, %v", code, err)
	}
	if err := stop(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	for range 2 {
		if code := <-codes; code != http.StatusNoContent {
			t.Errorf("the response to a held poll is %d", code)
		}
	}
}

// TestServerNoticesDisconnects checks that the poll of a client that disconnects is no longer held.
func TestServerNoticesDisconnects(t *testing.T) {
	f := newFixture(t, sidecarPod("orders"))
	f.cfg.Hold = time.Hour
	url, c, stop := serve(t, f.Handler)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{}`))
		if err == nil {
			r.Header.Set("Authorization", "Bearer right")
			_, err = c.Do(r)
		}
		if err == nil {
			t.Error("the poll got a response")
		}
	}()
	waitHeld(t, f.Handler, 1)
	cancel()
	waitHeld(t, f.Handler, 0)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestServerSpeaksNoHTTP2(t *testing.T) {
	f := newFixture(t, sidecarPod("orders"))
	url, c, stop := serve(t, f.Handler)
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 1 || response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != http.MethodPost {
		t.Errorf("the response is %s %d", response.Proto, response.StatusCode)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
