package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// TestTheLastRecords: a request that is cut at the end of drainTimeout has a record: its app may have done what it asks for.
func TestTheLastRecords(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	stdout := os.Stdout
	os.Stdout = out
	reached, proceed := make(chan struct{}), make(chan struct{})
	id := 1
	r := startStandalone(t, makeDocument(func(p *compiled.Policy) {
		p.Sidecar.DrainTimeout = compiled.Duration(100 * time.Millisecond)
		p.Audit = &compiled.Audit{
			Events: []string{compiled.AuditLifecycle}, Sinks: []string{compiled.AuditLog}, Format: compiled.AuditFormatPostern, OnFailure: compiled.Deny, Mode: compiled.Enforce,
			Lifecycle: []compiled.LifecycleRule{{Resource: "user", Action: compiled.LifecycleDelete, Match: []compiled.Match{{Methods: []string{"DELETE"}, Paths: []string{"/users/*"}}}, ID: &compiled.ResourceID{Segment: &id}}},
		}
		p.AuditOptions = &compiled.AuditOptions{SpoolBytes: 1 << 20, CheckpointInterval: compiled.Duration(time.Minute)}
	}), http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) {
		close(reached)
		<-proceed
	}))
	os.Stdout = stdout
	ended := make(chan error, 1)
	go func() {
		request, err := http.NewRequest(http.MethodDelete, "http://"+r.address+"/users/42", nil)
		if err == nil {
			var res *http.Response
			if res, err = http.DefaultClient.Do(request); err == nil {
				err = res.Body.Close()
			}
		}
		ended <- err
	}()
	<-reached
	err = r.stop()
	close(proceed)
	<-ended
	if err == nil || !strings.Contains(err.Error(), "still open at the end of drainTimeout") {
		t.Errorf("stopping: %v", err)
	}
	text, err := os.ReadFile(out.Name())
	if err != nil || !strings.Contains(string(text), `"action":"DELETE","outcome":"failed","reason":"result-unknown"`) {
		t.Errorf("the trail has %s, %v", text, err)
	}
}

// TestAwait waits for requests whose connections are closed already, and not for ever.
func TestAwait(t *testing.T) {
	t.Parallel()
	c := newEnforcer(t, hello)
	reached, proceed, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	c.chain.App = stage.Func(func(http.ResponseWriter, *http.Request) error {
		close(reached)
		<-proceed
		return nil
	})
	if err := c.apply(t.Context(), makeDocument(nil), "h"); err != nil {
		t.Fatal(err)
	}
	served := false
	go func() {
		defer close(done)
		c.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		served = true
	}()
	<-reached
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c.await(ended)
	if c.open.Load() != 1 {
		t.Errorf("%d requests are open", c.open.Load())
	}
	close(proceed)
	c.await(t.Context())
	if c.open.Load() != 0 {
		t.Error("a request is open")
	}
	<-done
	if !served {
		t.Error("not served")
	}
}
