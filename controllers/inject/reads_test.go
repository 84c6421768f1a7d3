package inject

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/index"
	"github.com/posterndev/postern/controllers/render"
)

// counted counts the calls of Policies and of the reader.
type counted struct {
	Policies
	client.Reader
	selects, gets, lists atomic.Int64
	// during is called while a read is in progress; nil for none.
	during func()
}

func (c *counted) Select(ctx context.Context, namespace string, podLabels map[string]string) (*v1alpha1.SecurityPolicy, error) {
	c.selects.Add(1)
	return c.Policies.Select(ctx, namespace, podLabels)
}

func (c *counted) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	c.gets.Add(1)
	if c.during != nil {
		c.during()
	}
	return c.Reader.Get(ctx, key, object, opts...)
}

func (c *counted) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	c.lists.Add(1)
	return c.Reader.List(ctx, list, opts...)
}

func countedHandler(t *testing.T, objects ...client.Object) (*Handler, *counted) {
	t.Helper()
	h := handler(t, "", objects...)
	c := &counted{Policies: h.config.Policies, Reader: h.config.Live}
	h.config.Policies, h.config.Live = c, c
	return h, c
}

// TestOneLookPerPod checks that a second invocation for a pod, after another webhook added a container, reads no policies again,
// and that any other pod is looked at.
func TestOneLookPerPod(t *testing.T) {
	h, c := countedHandler(t, namespace(""), class(), securityPolicy("orders", 1))
	first := request(t, appPod())
	pod := patched(t, first, h.Handle(t.Context(), first))
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: "added", Image: "x"})
	pod.Spec.InitContainers[0].TerminationMessagePath = "/dev/termination-log" // a default of the API server
	pod.Spec.InitContainers[0].Image = "mirror.example.com/sidecar:1"
	if response := h.Handle(t.Context(), request(t, pod)); !response.Allowed {
		t.Fatalf("got %+v", response)
	}
	if n := c.selects.Load(); n != 1 {
		t.Errorf("the policies were looked at %d times for one pod", n)
	}
	pod.Labels["version"] = "2"
	h.Handle(t.Context(), request(t, pod))
	if n := c.selects.Load(); n != 2 {
		t.Errorf("another pod was not looked at")
	}
}

// stale is an index whose informer has stopped: it knows the policies of the start.
type stale struct {
	Policies
	start *v1alpha1.SecurityPolicy
}

func (s stale) Known(string, map[string]string) *v1alpha1.SecurityPolicy { return s.start }

// TestCopiesOfInjectedPods: somebody who copies an injected pod, sidecar and all, again and again, while the informer has stopped, gets
// the policy that was just applied after lookedFor at the latest, and at once with other labels, or if the index has another policy.
func TestCopiesOfInjectedPods(t *testing.T) { synctest.Test(t, testCopiesOfInjectedPods) }

func testCopiesOfInjectedPods(t *testing.T) {
	before, after := securityPolicy("before", 1), securityPolicy("after", 2)
	before.UID, after.UID = "before", "after"
	h := handler(t, "", namespace(""), class(), before)
	first := request(t, appPod())
	copied := patched(t, first, h.Handle(t.Context(), first))
	if copied.Annotations[render.PolicyAnnotation] != "before" {
		t.Fatalf("got %v", copied.Annotations)
	}
	now := handler(t, "", namespace(""), class(), after)
	h.config.Reader, h.config.Live = now.config.Reader, now.config.Live
	h.config.Policies = &counted{Policies: stale{now.config.Policies, before}}
	policyOf := func(pod *corev1.Pod) string {
		r := request(t, pod)
		return patched(t, r, h.Handle(t.Context(), r)).Annotations[render.PolicyAnnotation]
	}
	other := copied.DeepCopy()
	other.Labels["version"] = "2"
	if got := policyOf(other); got != "after" {
		t.Errorf("other labels: policy %q", got)
	}
	for waited := time.Duration(0); waited <= 2*lookedFor; waited += lookedFor / 4 {
		copied.Spec.Containers[0].Image = "evil" + waited.String()
		want := "before"
		if waited > lookedFor {
			want = "after"
		}
		if got := policyOf(copied.DeepCopy()); got != want {
			t.Errorf("a copy after %s: policy %q, want %q", waited, got, want)
		}
		time.Sleep(lookedFor / 4)
	}
	h.looked.add(copied.Namespace, copied, "before")
	h.config.Policies = &counted{Policies: stale{now.config.Policies, nil}}
	if got := policyOf(copied); got != "after" {
		t.Errorf("an index without the policy: policy %q", got)
	}
}

// patched returns the pod of a request after the response's patches.
func patched(t *testing.T, r admission.Request, response admission.Response) *corev1.Pod {
	t.Helper()
	if !response.Allowed {
		t.Fatalf("got %+v", response)
	}
	b := r.Object.Raw
	if len(response.Patches) > 0 {
		patch, err := jsonpatch.DecodePatch(encode(t, response.Patches))
		if err != nil {
			t.Fatal(err)
		}
		if b, err = patch.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	pod := &corev1.Pod{}
	if err := json.Unmarshal(b, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

// TestReadsOfManyPods checks that pods of one policy that arrive together share the reads of its document.
func TestReadsOfManyPods(t *testing.T) { synctest.Test(t, testReadsOfManyPods) }

func testReadsOfManyPods(t *testing.T) {
	const pods = 100
	h, c := countedHandler(t, namespace(""), class(), securityPolicy("orders", 1))
	arrived, proceed := make(chan struct{}, pods), make(chan struct{})
	c.during = func() { arrived <- struct{}{}; <-proceed }
	var wg sync.WaitGroup
	review := func() {
		wg.Go(func() {
			if response := h.Handle(t.Context(), request(t, appPod())); !response.Allowed {
				t.Errorf("got %+v", response.Result)
			}
		})
	}
	review()
	<-arrived
	for range pods - 1 {
		review()
	}
	synctest.Wait() // all of them wait for the read in progress, or for the next one
	close(proceed)
	wg.Wait()
	if gets, lists := c.gets.Load(), c.lists.Load(); gets > 20 || lists != 0 {
		t.Errorf("%d pods cost %d reads and %d lists of the API server", pods, gets, lists)
	}
}

// refusing refuses every namespace.
type refusing struct{ Policies }

func (refusing) Select(context.Context, string, map[string]string) (*v1alpha1.SecurityPolicy, error) {
	return nil, index.ErrTooMany
}

func TestTooManyPoliciesRefusePods(t *testing.T) {
	h := handler(t, "")
	h.config.Policies = refusing{}
	response := h.Handle(t.Context(), request(t, appPod()))
	if response.Allowed || response.Result.Code != 403 {
		t.Errorf("got %+v", response)
	}
}

// TestClassJustCreated checks that a class which the cache does not have yet is read.
func TestClassJustCreated(t *testing.T) {
	policy := securityPolicy("orders", 1)
	policy.Spec.SidecarClassName = ptr.To("default")
	h, c := countedHandler(t, namespace(""), class(), policy)
	h.config.Reader = handler(t, "", namespace("")).config.Reader
	if response := h.Handle(t.Context(), request(t, appPod())); !response.Allowed || c.lists.Load() != 1 {
		t.Errorf("got %+v after %d lists", response, c.lists.Load())
	}
}

// TestDocumentOfTheCache checks when the cache's document is good enough for a pod's floor, so that nothing is read.
func TestDocumentOfTheCache(t *testing.T) {
	policy := securityPolicy("orders", 1)
	policy.UID, policy.Generation = "u", 3
	recorded := policy.DeepCopy()
	recorded.Status.Revision = 9
	for name, tc := range map[string]struct {
		policy    *v1alpha1.SecurityPolicy
		change    func(*compiled.Policy)
		wantReads int64
	}{
		"of this policy":               {policy, nil, 0},
		"of an older generation":       {policy, func(p *compiled.Policy) { p.Generation = 2 }, 1},
		"of a deleted one of the name": {policy, func(p *compiled.Policy) { p.UID = "old" }, 1},
		"a tombstone":                  {policy, func(p *compiled.Policy) { p.Deleted = true }, 1},
		"older than the status says":   {recorded, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cached := signedHandler(t, documentOf(t, policy, 7, tc.change))
			live := signedHandler(t, documentOf(t, policy, 8, nil))
			c := &counted{Reader: live.config.Live}
			cached.config.Live = c
			got, err := cached.last(t.Context(), tc.policy)
			if want := 7 + tc.wantReads; err != nil || c.gets.Load() != tc.wantReads || got.Revision != want {
				t.Errorf("got %+v after %d reads: %v", got, c.gets.Load(), err)
			}
		})
	}
}
