package index

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// keptSpec is the size up to which the cache keeps a spec, in bytes of JSON. Most policies are smaller. Larger ones are read when
// they are needed.
const keptSpec = 8 << 10

// sizeAnnotation, on a policy in the cache, holds the size of the spec that was dropped. bareAnnotation says that the selector was
// dropped, too. The API server accepts no key with two slashes, so no user can set them.
const (
	sizeAnnotation = "postern.dev/cache/spec-bytes"
	bareAnnotation = "postern.dev/cache/bare"
)

// Trimmer is the transform of the informer of policies. It drops what nobody reads, and large specs. Of each namespace it keeps
// the specs and selectors of at most compile.MaxPolicies policies, so that a namespace's memory is bounded even if policies were
// created while no validating webhook ran.
type Trimmer struct {
	mu   sync.Mutex
	kept map[types.UID]string
	of   map[string]int
}

// NewTrimmer returns a Trimmer. It must also be an event handler of the informer, to notice deletions.
func NewTrimmer() *Trimmer { return &Trimmer{kept: map[types.UID]string{}, of: map[string]int{}} }

// Transform is a TransformFunc. It changes the object.
func (t *Trimmer) Transform(object any) (any, error) {
	policy, ok := object.(*v1alpha1.SecurityPolicy)
	if !ok {
		return object, nil
	}
	if Trimmed(policy) {
		return object, nil // informers may apply a transform twice
	}
	trim(policy, keptSpec)
	if !t.keep(policy) {
		policy.Annotations = map[string]string{sizeAnnotation: strconv.Itoa(SpecSize(policy)), bareAnnotation: ""}
		policy.Spec = v1alpha1.SecurityPolicySpec{Selector: compile.TooLargeSelector()}
	}
	return policy, nil
}

func (t *Trimmer) keep(policy *v1alpha1.SecurityPolicy) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.kept[policy.UID]; ok {
		return true
	}
	if t.of[policy.Namespace] >= compile.MaxPolicies {
		return false
	}
	t.kept[policy.UID] = policy.Namespace
	t.of[policy.Namespace]++
	return true
}

// OnAdd implements ResourceEventHandler.
func (t *Trimmer) OnAdd(any, bool) {}

// OnUpdate implements ResourceEventHandler. A policy that was created again in between has another UID.
func (t *Trimmer) OnUpdate(before, after any) {
	a, ok := before.(*v1alpha1.SecurityPolicy)
	b, ok2 := after.(*v1alpha1.SecurityPolicy)
	if ok && ok2 && a.UID != b.UID {
		t.release(a.UID)
	}
}

// OnDelete implements ResourceEventHandler.
func (t *Trimmer) OnDelete(object any) {
	if tombstone, ok := object.(toolscache.DeletedFinalStateUnknown); ok {
		object = tombstone.Obj
	}
	if policy, ok := object.(*v1alpha1.SecurityPolicy); ok {
		t.release(policy.UID)
	}
}

func (t *Trimmer) release(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	namespace, ok := t.kept[uid]
	if !ok {
		return
	}
	delete(t.kept, uid)
	if t.of[namespace]--; t.of[namespace] == 0 {
		delete(t.of, namespace)
	}
}

// trim drops what nobody reads. Of a spec over most bytes it keeps the selector, unless that is too large itself.
func trim(policy *v1alpha1.SecurityPolicy, most int) {
	policy.ManagedFields, policy.Annotations, policy.Labels, policy.OwnerReferences, policy.Finalizers = nil, nil, nil, nil, nil
	size := compile.SpecSize(&policy.Spec)
	if size <= most {
		return
	}
	policy.Annotations = map[string]string{sizeAnnotation: strconv.Itoa(size)}
	selector := policy.Spec.Selector
	policy.Spec = v1alpha1.SecurityPolicySpec{Selector: selector}
	if compile.SpecSize(&policy.Spec) > compile.MaxSelector {
		// An operator that does not exist: the policy selects every pod, as one whose selector is invalid.
		policy.Spec.Selector = compile.TooLargeSelector()
	}
}

// Trimmed reports whether the cache dropped the policy's spec.
func Trimmed(policy *v1alpha1.SecurityPolicy) bool {
	_, ok := policy.Annotations[sizeAnnotation]
	return ok
}

// Bare reports whether the cache dropped the policy's selector as well.
func Bare(policy *v1alpha1.SecurityPolicy) bool {
	_, ok := policy.Annotations[bareAnnotation]
	return ok && Trimmed(policy)
}

// SpecSize returns the size of the spec of a policy from the cache, in bytes of JSON, whether or not the spec was dropped.
func SpecSize(policy *v1alpha1.SecurityPolicy) int {
	if size, err := strconv.Atoi(policy.Annotations[sizeAnnotation]); err == nil && Trimmed(policy) {
		return size
	}
	return compile.SpecSize(&policy.Spec)
}

// Complete returns the policy with its spec, which it reads with live if the cache dropped it. A spec over compile.MaxSpec is not
// read: compile refuses it by its size.
func Complete(ctx context.Context, live client.Reader, policy *v1alpha1.SecurityPolicy) (*v1alpha1.SecurityPolicy, int, error) {
	size := SpecSize(policy)
	if !Trimmed(policy) || size > compile.MaxSpec {
		return policy, size, nil
	}
	full := &v1alpha1.SecurityPolicy{}
	if err := live.Get(ctx, client.ObjectKeyFromObject(policy), full); err != nil {
		return nil, 0, fmt.Errorf("reading policy %q: %w", policy.Name, err)
	}
	if size = compile.SpecSize(&full.Spec); size > compile.MaxSpec {
		trim(full, keptSpec)
		return full, size, nil
	}
	full.ManagedFields, full.Annotations = nil, nil
	return full, size, nil
}
