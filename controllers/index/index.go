// Package index answers which policy of a namespace selects a new pod. It keeps the selectors of all policies, compiled, from an
// informer. Before each answer it proves that the informer is not behind: it reads the names, UIDs and generations of the
// namespace's policies from the API server, in one read that concurrent reviews share. So no pod slips past a policy that was
// applied just before, and no review decodes all policies. See docs/design/0022-admission-index.md.
//
// What one namespace can cost is bounded: specs over compile.MaxSpec are never decoded again, those over keptSpec are read when
// they are needed, and pods of a namespace with more than compile.MaxPolicies policies are refused.
package index

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/flight"
)

const (
	// looks bounds the looks in progress, overlap those at the same namespace, and lookTimeout one look with everything that follows
	// from its read. They overlap because a read takes up to 100 ms beside writes of other objects: the API server's cache then
	// waits for etcd to confirm that there is nothing new, for which it asks at most every 100 ms.
	looks       = 16
	overlap     = 2
	lookTimeout = 5 * time.Second
	// pace is the shortest time between the starts of two looks at the same namespace. Reviews that arrive meanwhile share one.
	pace = 20 * time.Millisecond
	// patience is how long a look waits for the informer before it reads the missing policies from the API server.
	patience = 500 * time.Millisecond
	// maxMissing bounds the policies that one look reads.
	maxMissing = 16
)

// Key identifies a policy's spec: it changes when the spec changes, when the policy is deleted, and when it is created again.
type Key struct {
	Name       string
	UID        types.UID
	Generation int64
}

// Lister returns the keys of all policies of a namespace, as the API server has them when it is called. It returns ErrTooMany if
// there are more than compile.MaxPolicies.
type Lister interface {
	Keys(ctx context.Context, namespace string) ([]Key, error)
}

// Config configures an Index.
type Config struct {
	Lister Lister
	// Live reads single policies from the API server.
	Live client.Reader
	// Registerer registers the index's metrics.
	Registerer prometheus.Registerer
}

// Index is an event handler of the informer of policies. It is safe for concurrent use.
type Index struct {
	cfg    Config
	looks  *flight.Group[string, *selection]
	reads  *prometheus.CounterVec
	mu     sync.Mutex
	spaces map[string]*space
}

var _ toolscache.ResourceEventHandler = (*Index)(nil)

// space holds the policies of one namespace.
type space struct {
	entries map[string]*entry
	// changed is closed and replaced with every change.
	changed chan struct{}
}

// entry is a policy with its compiled selector. It is not changed after it was made.
type entry struct {
	// policy may be trimmed.
	policy *v1alpha1.SecurityPolicy
	// selector is nil if it cannot be parsed. The policy then selects every pod, and the pod is refused.
	selector labels.Selector
}

func newEntry(policy *v1alpha1.SecurityPolicy) *entry {
	selector, err := compile.ParseSelector(policy)
	if err != nil {
		selector = nil
	}
	return &entry{policy, selector}
}

// Values of the label "kind" of the metric of reads.
const (
	readList   = "list"
	readPolicy = "policy"
)

// New returns an empty index, and registers its metrics.
func New(cfg Config) (*Index, error) {
	x := &Index{
		cfg: cfg, spaces: map[string]*space{},
		looks: flight.New[string, *selection](flight.Config{Slots: looks, Overlap: overlap, Timeout: lookTimeout, Pace: pace}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postern_policy_reads_total",
			Help: "Reads of policies from the API server for new pods, by kind: list (the names and generations of a namespace, shared by concurrent reviews), policy (one policy that the cache does not hold).",
		}, []string{"kind"}),
	}
	if err := cfg.Registerer.Register(x.reads); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	for _, kind := range []string{readList, readPolicy} {
		x.reads.WithLabelValues(kind)
	}
	return x, nil
}

// Count returns how many policies of the namespace the informer holds.
func (x *Index) Count(namespace string) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.spaces[namespace]
	if s == nil {
		return 0
	}
	return len(s.entries)
}

// OnAdd implements ResourceEventHandler.
func (x *Index) OnAdd(object any, _ bool) { x.put(object) }

// OnUpdate implements ResourceEventHandler.
func (x *Index) OnUpdate(_, object any) { x.put(object) }

// OnDelete implements ResourceEventHandler.
func (x *Index) OnDelete(object any) {
	if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	policy, ok := object.(*v1alpha1.SecurityPolicy)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.spaces[policy.Namespace]
	if s == nil {
		return
	}
	delete(s.entries, policy.Name)
	s.signal()
	if len(s.entries) == 0 {
		delete(x.spaces, policy.Namespace)
	}
}

func (x *Index) put(object any) {
	policy, ok := object.(*v1alpha1.SecurityPolicy)
	if !ok {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.spaces[policy.Namespace]
	if s == nil {
		s = &space{entries: map[string]*entry{}, changed: make(chan struct{})}
		x.spaces[policy.Namespace] = s
	}
	if old := s.entries[policy.Name]; old != nil && same(old.policy, policy) {
		s.entries[policy.Name] = &entry{policy, old.selector} // its status changed
		return
	}
	s.entries[policy.Name] = newEntry(policy)
	s.signal()
}

// same reports whether two versions of a policy have the same selector.
func same(a, b *v1alpha1.SecurityPolicy) bool {
	return a.UID == b.UID && a.Generation == b.Generation && Bare(a) == Bare(b)
}

func (s *space) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}
