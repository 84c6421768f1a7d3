package deliver

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/posterndev/postern/controllers/render"
)

// Documents holds the newest verified documents of every policy, and wakes the polls that wait for a newer one. It receives the
// events of an informer of the ConfigMaps that hold documents, as a toolscache.ResourceEventHandler.
type Documents struct {
	reader render.Reader
	log    *slog.Logger

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
}

// entry is the content of one ConfigMap, and the number of polls that wait for it to change.
type entry struct {
	// documents have different schema versions, the newest first; empty if the ConfigMap has none.
	documents []encoded
	changed   chan struct{}
	waiters   int
}

// encoded is a signed document, in JSON.
type encoded struct {
	version  int
	hash     string
	revision int64
	body     []byte
}

// newest returns the document with the newest schema version up to reads; nil if there is none.
func (e *entry) newest(reads int) *encoded {
	for i := range e.documents {
		if e.documents[i].version <= reads {
			return &e.documents[i]
		}
	}
	return nil
}

var _ toolscache.ResourceEventHandler = (*Documents)(nil)

// NewDocuments returns an empty store. It accepts only documents whose signature key verifies.
func NewDocuments(key ed25519.PublicKey, log *slog.Logger) *Documents {
	return &Documents{reader: render.Reader{Key: key}, log: log, entries: map[types.NamespacedName]*entry{}}
}

// Next returns the ConfigMap's signed document, in JSON, with the newest schema version up to reads. It waits until there is
// one whose hash is not in seen, and returns false if ctx ends first.
func (d *Documents) Next(ctx context.Context, configMap types.NamespacedName, reads int, seen ...string) ([]byte, bool) {
	for {
		body, changed := d.look(configMap, reads, seen)
		if body != nil {
			return body, true
		}
		select {
		case <-changed:
			d.leave(configMap)
		case <-ctx.Done():
			d.leave(configMap)
			return nil, false
		}
	}
}

// look returns the document if its hash is not in seen. Otherwise it registers a waiter, which must call leave.
func (d *Documents) look(configMap types.NamespacedName, reads int, seen []string) ([]byte, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entry(configMap)
	if next := e.newest(reads); next != nil && !slices.Contains(seen, next.hash) {
		return next.body, nil
	}
	e.waiters++
	return nil, e.changed
}

func (d *Documents) leave(configMap types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entry(configMap).waiters--
	d.forget(configMap)
}

// OnAdd stores a ConfigMap's documents.
func (d *Documents) OnAdd(object any, _ bool) { d.store(object) }

// OnUpdate stores a ConfigMap's changed documents.
func (d *Documents) OnUpdate(_, object any) { d.store(object) }

// OnDelete removes a ConfigMap's documents.
func (d *Documents) OnDelete(object any) {
	if unknown, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	name := types.NamespacedName{Namespace: cm.Namespace, Name: cm.Name}
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.entries[name]; e != nil {
		e.documents = nil
	}
	d.forget(name)
}

// store verifies the ConfigMap's documents and wakes its waiters. Documents that the operator did not sign, or that are older
// than those in memory, are ignored.
func (d *Documents) store(object any) {
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	name := types.NamespacedName{Namespace: cm.Namespace, Name: cm.Name}
	next, err := d.verify(cm)
	if err != nil {
		d.log.Warn("document of a ConfigMap is not delivered", "namespace", cm.Namespace, "configMap", cm.Name, "error", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entry(name)
	if len(e.documents) > 0 && (next[0].hash == e.documents[0].hash || next[0].revision < e.documents[0].revision) {
		return // every write gives the first document a new revision
	}
	e.documents = next
	close(e.changed)
	e.changed = make(chan struct{})
}

// errName is returned for a ConfigMap whose name does not match the policy in its document.
var errName = errors.New("the document belongs to another policy")

func (d *Documents) verify(cm *corev1.ConfigMap) ([]encoded, error) {
	policy, ok := render.PolicyIn(cm)
	if !ok || render.ConfigMapName(policy) != cm.Name {
		return nil, errName
	}
	documents, err := d.reader.Open(cm, policy)
	if err != nil {
		return nil, err
	}
	out := make([]encoded, len(documents))
	for i, document := range documents {
		body, err := json.Marshal(document.Signed)
		if err != nil {
			return nil, fmt.Errorf("encoding signed document: %w", err)
		}
		out[i] = encoded{version: document.Policy.SchemaVersion, hash: document.Hash, revision: document.Policy.Revision, body: body}
	}
	return out, nil
}

// entry returns the ConfigMap's entry, and creates it if necessary. The caller holds d.mu.
func (d *Documents) entry(name types.NamespacedName) *entry {
	e := d.entries[name]
	if e == nil {
		e = &entry{changed: make(chan struct{})}
		d.entries[name] = e
	}
	return e
}

// forget removes an entry that has no document and no waiter. The caller holds d.mu.
func (d *Documents) forget(name types.NamespacedName) {
	if e := d.entries[name]; e != nil && len(e.documents) == 0 && e.waiters == 0 {
		delete(d.entries, name)
	}
}
