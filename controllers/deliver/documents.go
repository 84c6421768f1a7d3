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

// Documents holds the newest verified document of every policy, and wakes the polls that wait for a newer one. It is a
// toolscache.ResourceEventHandler for the ConfigMaps that hold documents. Such handlers get no context, so it has a logger.
type Documents struct {
	key ed25519.PublicKey
	log *slog.Logger

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
}

// entry is the document in one ConfigMap, and the polls that wait for it to change.
type entry struct {
	hash     string
	revision int64
	body     []byte // nil if there is no document
	changed  chan struct{}
	waiters  int
}

var _ toolscache.ResourceEventHandler = (*Documents)(nil)

// NewDocuments returns a store of the documents that key's owner signed.
func NewDocuments(key ed25519.PublicKey, log *slog.Logger) *Documents {
	return &Documents{key: key, log: log, entries: map[types.NamespacedName]*entry{}}
}

// Next returns the signed document of the ConfigMap, as JSON, as soon as there is one whose hash is not in seen; false if ctx
// ends first.
func (d *Documents) Next(ctx context.Context, configMap types.NamespacedName, seen ...string) ([]byte, bool) {
	for {
		body, changed := d.look(configMap, seen)
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

// look returns the document if its hash is not in seen; otherwise it registers a waiter, which must call leave.
func (d *Documents) look(configMap types.NamespacedName, seen []string) ([]byte, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entry(configMap)
	if e.body != nil && !slices.Contains(seen, e.hash) {
		return e.body, nil
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

// OnAdd stores a ConfigMap's document.
func (d *Documents) OnAdd(object any, _ bool) { d.take(object) }

// OnUpdate stores a ConfigMap's changed document.
func (d *Documents) OnUpdate(_, object any) { d.take(object) }

// OnDelete removes a ConfigMap's document.
func (d *Documents) OnDelete(object any) {
	if gone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	name := types.NamespacedName{Namespace: cm.Namespace, Name: cm.Name}
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.entries[name]; e != nil {
		e.hash, e.revision, e.body = "", 0, nil
	}
	d.forget(name)
}

// take verifies the ConfigMap's document and wakes its waiters. A document with another signature, or an older revision, does
// not replace the one in memory.
func (d *Documents) take(object any) {
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return
	}
	name := types.NamespacedName{Namespace: cm.Namespace, Name: cm.Name}
	next, err := d.verify(cm)
	if err != nil {
		d.log.Warn("a ConfigMap's document is not delivered", "namespace", cm.Namespace, "configMap", cm.Name, "error", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entry(name)
	if next.hash == e.hash || next.revision < e.revision {
		return
	}
	e.hash, e.revision, e.body = next.hash, next.revision, next.body
	close(e.changed)
	e.changed = make(chan struct{})
}

// errOtherPolicy is returned for a document that was copied from one policy's ConfigMap into another's.
var errOtherPolicy = errors.New("the document is of another policy")

func (d *Documents) verify(cm *corev1.ConfigMap) (entry, error) {
	signed, err := render.Signed(cm)
	if err != nil {
		return entry{}, err
	}
	policy, err := signed.Open(d.key)
	if err != nil {
		return entry{}, fmt.Errorf("opening document: %w", err)
	}
	if policy.Namespace != cm.Namespace || render.ConfigMapName(policy.Name) != cm.Name {
		return entry{}, errOtherPolicy
	}
	body, err := json.Marshal(signed)
	if err != nil {
		return entry{}, fmt.Errorf("encoding signed document: %w", err)
	}
	return entry{hash: signed.Hash(), revision: policy.Revision, body: body}, nil
}

// entry returns the ConfigMap's entry; d.mu is held.
func (d *Documents) entry(name types.NamespacedName) *entry {
	e := d.entries[name]
	if e == nil {
		e = &entry{changed: make(chan struct{})}
		d.entries[name] = e
	}
	return e
}

// forget removes an entry that has neither a document nor waiters; d.mu is held.
func (d *Documents) forget(name types.NamespacedName) {
	if e := d.entries[name]; e != nil && e.body == nil && e.waiters == 0 {
		delete(d.entries, name)
	}
}
