package console

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestServe ends when the context does, and answers until then.
func TestServe(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := newConsole(t, newFakeCluster(t), func(c *Config) { c.Port = l.Addr().(*net.TCPAddr).Port })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, b.console) }()
	response, err := http.Get((*b.links)[0])
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "not signed in") {
		t.Errorf("a client that keeps no cookie: %d, %v", response.StatusCode, err)
	}
	large, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Addr().String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	large.Header.Set("Cookie", strings.Repeat("a", 2*maxHeader))
	response, err = http.DefaultClient.Do(large)
	if err == nil {
		response.Body.Close()
		if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("a large head: %d", response.StatusCode)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestComplaints: refusals do not flood the terminal, and what they quote cannot move its cursor.
func TestComplaints(t *testing.T) {
	var out bytes.Buffer
	at := now
	b := newConsole(t, newFakeCluster(t), func(c *Config) {
		c.Log, c.Now = slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return at }
	})
	for range 100 {
		b.get("/", map[string]string{"Host": "evil.example"})
		b.get("/%1b[2J", nil)
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
	at = at.Add(complaintInterval)
	b.get("/", nil)
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines after a while", n)
	}
}
