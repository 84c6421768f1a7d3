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

// Documents holds the newest verified document of every policy, and wakes those who wait for a newer one. It is fed by an
// informer's events (it is a toolscache.ResourceEventHandler) of the ConfigMaps that hold documents.
type Documents struct {
	key ed25519.PublicKey
	log *slog.Logger

	mu      sync.Mutex
	entries map[types.NamespacedName]*entry
}

// entry is the document in one ConfigMap, and those who wait for it to change.
type entry struct {
	hash     string
	revision int64
	body     []byte // nil where there is no document
	changed  chan struct{}
	waiters  int
}

var _ toolscache.ResourceEventHandler = (*Documents)(nil)

// NewDocuments returns a store of the documents that key's owner signed.
func NewDocuments(key ed25519.PublicKey, log *slog.Logger) *Documents {
	return &Documents{key: key, log: log, entries: map[types.NamespacedName]*entry{}}
}

// Next returns the signed document, in JSON, of the ConfigMap as soon as there is one whose hash is not in seen; false
// where ctx ends first.
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

// look returns the document if its hash is not in seen; else it registers a waiter, who must leave.
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

// OnAdd takes a ConfigMap's document.
func (d *Documents) OnAdd(object any, _ bool) { d.take(object) }

// OnUpdate takes a ConfigMap's changed document.
func (d *Documents) OnUpdate(_, object any) { d.take(object) }

// OnDelete forgets a ConfigMap's document.
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

// take verifies the ConfigMap's document and wakes its waiters. A document that someone else wrote, or an older one of
// ours, leaves the one in memory in force.
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

// errOtherPolicy is for a document that was copied from one policy's ConfigMap into another's.
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

// forget drops an entry that neither holds a document nor is waited for; d.mu is held.
func (d *Documents) forget(name types.NamespacedName) {
	if e := d.entries[name]; e != nil && e.body == nil && e.waiters == 0 {
		delete(d.entries, name)
	}
}
