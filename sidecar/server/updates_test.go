package server

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// text returns what was logged.
func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await waits until text has been logged n times.
func (l *lines) await(t *testing.T, n int, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		log := l.text()
		if strings.Count(log, text) >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log does not have %q %d times:\n%s", text, n, log)
		}
	}
}

func statusOf(t *testing.T, address string) int {
	t.Helper()
	resp, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func TestStandaloneAppliesChangedPolicies(t *testing.T) {
	app := httptest.NewServer(hello)
	defer app.Close()
	target, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log, updates, started, done := &lines{}, make(chan *compiled.Policy), make(chan netip.AddrPort, 1), make(chan error, 1)
	go func() {
		done <- Standalone{
			Document: makeDocument(nil), Updates: updates, Started: func(a netip.AddrPort) { started <- a }, Upstream: target,
			Listen: "127.0.0.1:0", SecretsDir: t.TempDir(), Level: &slog.LevelVar{}, Logger: slog.New(slog.NewTextHandler(log, nil)),
		}.Run(ctx)
	}()
	address := (<-started).String()
	if got := statusOf(t, address); got != http.StatusOK {
		t.Fatalf("status %d before the change", got)
	}
	updates <- makeDocument(func(p *compiled.Policy) { p.Authorization.Default = compiled.RequireDeny })
	log.await(t, 1, "changed policy active")
	if got := statusOf(t, address); got != http.StatusForbidden {
		t.Errorf("status %d after the change, want 403", got)
	}
	for i, tt := range []struct {
		change  func(*compiled.Policy)
		wantLog string
	}{
		{func(p *compiled.Policy) { p.Name = "carts" }, "it is the policy shop/carts; restart"},
		{func(p *compiled.Policy) { p.Namespace = "elsewhere" }, "it is the policy elsewhere/orders; restart"},
		{func(p *compiled.Policy) {
			p.Providers = []compiled.Provider{{Name: "corp", Issuer: "i", Algorithms: []string{"ES256"}, Keys: compiled.Keys{Inline: []byte(`{"keys":[]}`)}}}
		}, "spec.jwt.providers[0].jwks.inline"},
	} {
		updates <- makeDocument(tt.change)
		log.await(t, i+1, "changed policy refused, the previous policy stays active")
		log.await(t, 1, tt.wantLog)
		if got := statusOf(t, address); got != http.StatusForbidden {
			t.Errorf("%s: status %d, want that of the previous policy", tt.wantLog, got)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
