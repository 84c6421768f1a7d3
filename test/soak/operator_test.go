package soak

import (
	"crypto/ed25519"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// operator serves the long poll of the sidecar.
type operator struct {
	server *httptest.Server
	key    ed25519.PrivateKey

	mu      sync.Mutex
	newest  compiled.Signed
	running string // the hash of the sidecar's last report
	refused string
	// changed is closed and replaced when newest or running changes.
	changed chan struct{}
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{key: key, changed: make(chan struct{})}
	o.server = httptest.NewTLSServer(o)
	t.Cleanup(o.server.Close)
	return o
}

// ServeHTTP responds to a poll as soon as the sidecar does not run the newest document, or after a while.
func (o *operator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	report, err := compiled.DecodeReport(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if report.Hash != o.running {
		o.running = report.Hash
		o.wake()
	}
	if report.Refused != "" {
		o.refused = report.Error
	}
	for wait := time.After(5 * time.Second); ; {
		if len(o.newest.Document) > 0 && o.newest.Hash() != report.Hash && report.Refused != o.newest.Hash() {
			_ = json.NewEncoder(w).Encode(o.newest) // on an error the sidecar asks again
			return
		}
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
			o.mu.Lock()
		case <-r.Context().Done():
			o.mu.Lock()
			return
		case <-wait:
			o.mu.Lock()
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
}

// wake continues the polls. The caller holds the lock.
func (o *operator) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// deliver gives the sidecar a document, and waits until the sidecar reports that it runs it. It returns what went wrong, or "".
func (o *operator) deliver(p *compiled.Policy) string {
	signed, err := compiled.Sign(p, o.key)
	if err != nil {
		return err.Error()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.newest = signed
	o.wake()
	for limit := time.After(waitLimit); o.running != signed.Hash(); {
		changed := o.changed
		o.mu.Unlock()
		select {
		case <-changed:
			o.mu.Lock()
		case <-limit:
			o.mu.Lock()
			return "the sidecar does not report the document; " + o.refused
		}
	}
	return ""
}
