package index

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// ErrTooMany is returned for a namespace with more policies than the operator looks at.
var ErrTooMany = fmt.Errorf("the namespace has more than %d SecurityPolicies, so none of its pods can be judged: delete some, or move workloads to other namespaces", compile.MaxPolicies)

// errBehind is returned if many policies changed faster than the informer reports.
var errBehind = errors.New("the operator does not have the namespace's newest policies yet: try again")

// selection is the policies of a namespace, the oldest first.
type selection struct{ byAge []*entry }

// Select returns the policy that applies to a new pod with these labels: the oldest that selects it; nil if none does. The policy
// is shared, and may be trimmed: see Complete. The answer considers every policy that existed when Select was called.
func (x *Index) Select(ctx context.Context, namespace string, podLabels map[string]string) (*v1alpha1.SecurityPolicy, error) {
	s, err := x.looks.Do(ctx, namespace, func(ctx context.Context) (*selection, error) { return x.look(ctx, namespace) })
	if err != nil {
		return nil, err
	}
	return s.find(podLabels), nil
}

// Known is Select without the read: the answer may be older than the newest policy. It is for a pod whose review has looked already.
func (x *Index) Known(namespace string, podLabels map[string]string) *v1alpha1.SecurityPolicy {
	x.mu.Lock()
	var entries []*entry
	if s := x.spaces[namespace]; s != nil {
		for _, e := range s.entries {
			entries = append(entries, e)
		}
	}
	x.mu.Unlock()
	return ordered(entries).find(podLabels)
}

func (s *selection) find(podLabels map[string]string) *v1alpha1.SecurityPolicy {
	for _, e := range s.byAge {
		if e.selector == nil || e.selector.Matches(labels.Set(podLabels)) {
			return e.policy
		}
	}
	return nil
}

// ordered drops policies that are being deleted: they have no document for new pods.
func ordered(entries []*entry) *selection {
	entries = slices.DeleteFunc(entries, func(e *entry) bool { return e.policy.DeletionTimestamp != nil })
	slices.SortFunc(entries, func(a, b *entry) int {
		if compile.Older(a.policy, b.policy) {
			return -1
		}
		return 1 // names differ, so no two are equal
	})
	return &selection{entries}
}

// look reads the keys, and finds each policy in the index or, if the informer does not bring it, in the API server.
func (x *Index) look(ctx context.Context, namespace string) (*selection, error) {
	x.reads.WithLabelValues(readList).Inc()
	keys, err := x.cfg.Lister.Keys(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	entries, missing := x.await(ctx, namespace, keys)
	for _, key := range missing[:min(len(missing), maxMissing)] {
		e, err := x.read(ctx, namespace, key)
		if err != nil {
			return nil, err
		}
		if e != nil {
			x.complete(namespace, e)
			entries = append(entries, e)
		}
	}
	if len(missing) > maxMissing {
		return nil, errBehind
	}
	return ordered(entries), nil
}

// complete replaces an entry whose selector the cache has dropped, so that the next look does not read it again. The informer does
// not bring it back after other policies were deleted. A namespace has at most twice compile.MaxPolicies complete entries: looks read
// policies only if there are no more than that, and the Trimmer keeps no more.
func (x *Index) complete(namespace string, e *entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.spaces[namespace]
	if s == nil {
		return
	}
	old := s.entries[e.policy.Name]
	if old != nil && Bare(old.policy) && old.policy.UID == e.policy.UID && old.policy.Generation <= e.policy.Generation {
		s.entries[e.policy.Name] = e
	}
}

// await waits until the index has every key, or patience ends.
func (x *Index) await(ctx context.Context, namespace string, keys []Key) (found []*entry, missing []Key) {
	if len(keys) == 0 {
		return nil, nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		var changed <-chan struct{}
		found, missing, changed = x.match(namespace, keys)
		if len(missing) == 0 {
			return found, nil
		}
		select {
		case <-changed:
		case <-timer.C:
			return found, missing
		case <-ctx.Done():
			return found, missing
		}
	}
}

// match divides the keys. An entry that is newer than its key is as good: the change came after the read.
func (x *Index) match(namespace string, keys []Key) (found []*entry, missing []Key, changed <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.spaces[namespace]
	if s == nil {
		s = &space{entries: map[string]*entry{}, changed: make(chan struct{})}
		x.spaces[namespace] = s
	}
	found = make([]*entry, 0, len(keys))
	for _, key := range keys {
		e := s.entries[key.Name]
		if e != nil && e.policy.UID == key.UID && e.policy.Generation >= key.Generation && !Bare(e.policy) {
			found = append(found, e)
		} else {
			missing = append(missing, key)
		}
	}
	return found, missing, s.changed
}

// read returns the policy from the API server; nil if it was deleted.
func (x *Index) read(ctx context.Context, namespace string, key Key) (*entry, error) {
	x.reads.WithLabelValues(readPolicy).Inc()
	policy := &v1alpha1.SecurityPolicy{}
	err := x.cfg.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: key.Name}, policy)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading policy %q: %w", key.Name, err)
	}
	trim(policy, keptSpec)
	return newEntry(policy), nil
}
