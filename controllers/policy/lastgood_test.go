package policy

import (
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/render"
)

// cluster is a fake cluster with one policy, and the operator that reconciles it.
type cluster struct {
	t     *testing.T
	c     client.Client
	clock *clocktesting.FakePassiveClock
	r     *Reconciler
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	l := &cluster{
		t:     t,
		c:     fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(unreconciled()...).WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build(),
		clock: clocktesting.NewFakePassiveClock(created),
	}
	l.restart()
	return l
}

// restart replaces the reconciler with a new one, which remembers nothing.
func (l *cluster) restart() { l.r = newTestReconciler(l.c, l.clock) }

func (l *cluster) edit(change func(*v1alpha1.SecurityPolicySpec)) {
	l.t.Helper()
	p := l.policy()
	change(&p.Spec)
	p.Generation++
	if err := l.c.Update(l.t.Context(), p); err != nil {
		l.t.Fatal(err)
	}
}

// reconcile advances the clock by a second and reconciles.
func (l *cluster) reconcile() {
	l.t.Helper()
	l.clock.SetTime(l.clock.Now().Add(time.Second))
	if _, err := l.r.Reconcile(l.t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *cluster) policy() *v1alpha1.SecurityPolicy {
	l.t.Helper()
	p := &v1alpha1.SecurityPolicy{}
	if err := l.c.Get(l.t.Context(), name, p); err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *cluster) configMap() *corev1.ConfigMap {
	l.t.Helper()
	cm := &corev1.ConfigMap{}
	if err := l.c.Get(l.t.Context(), client.ObjectKey{Namespace: name.Namespace, Name: render.ConfigMapName(name.Name)}, cm); err != nil {
		l.t.Fatal(err)
	}
	return cm
}

// restore replaces the data of the ConfigMap.
func (l *cluster) restore(data map[string]string) {
	l.t.Helper()
	cm := l.configMap()
	cm.Data = data
	if err := l.c.Update(l.t.Context(), cm); err != nil {
		l.t.Fatal(err)
	}
}

func (l *cluster) wantAccepted(status metav1.ConditionStatus, texts ...string) {
	l.t.Helper()
	c := meta.FindStatusCondition(l.policy().Status.Conditions, v1alpha1.ConditionAccepted)
	if c == nil || c.Status != status {
		l.t.Fatalf("Accepted is %+v", c)
	}
	for _, text := range texts {
		if !strings.Contains(c.Message, text) {
			l.t.Errorf("Accepted says %q, want %q in it", c.Message, text)
		}
	}
}

func invalidate(s *v1alpha1.SecurityPolicySpec) {
	s.RateLimits = []v1alpha1.RateLimit{{Name: "x", Limit: "many"}}
}

func repair(s *v1alpha1.SecurityPolicySpec) { s.RateLimits = nil }

func (l *cluster) revision() int64 {
	l.t.Helper()
	d := l.r.verify(l.configMap(), name)
	if len(d) == 0 {
		l.t.Fatal("the document is not the operator's")
	}
	return d[0].policy.Revision
}

// TestInvalidEditKeepsDocument checks that an invalid edit does not change the document, and that the status says which pods
// run it.
func TestInvalidEditKeepsDocument(t *testing.T) {
	l := newCluster(t)
	l.reconcile()
	before, revision := l.configMap().Data, l.revision()
	if got := l.policy().Status.Revision; got != revision {
		t.Errorf("the status records revision %d, want %d", got, revision)
	}
	l.edit(invalidate)
	l.reconcile()
	l.wantAccepted(metav1.ConditionFalse, "spec.rateLimits[0].limit", "write for example 5/minute", "All pods, including new ones, run the last good document: revision 1000000001000")
	if after := l.configMap().Data; !maps.Equal(after, before) {
		t.Errorf("the ConfigMap changed to %v", after)
	}
	if got := l.policy().Status.Revision; got != revision {
		t.Errorf("the status records revision %d, want %d", got, revision)
	}
	// So does an edit that the CRD accepts and no sidecar could run.
	l.edit(func(s *v1alpha1.SecurityPolicySpec) {
		match := []v1alpha1.RouteMatch{{Paths: []string{"/admin/"}}}
		s.RateLimits = []v1alpha1.RateLimit{{Name: "x", Limit: "5/minute", Match: match}}
	})
	l.reconcile()
	l.wantAccepted(metav1.ConditionFalse, "spec.rateLimits[0].match[0].paths[0]", `write "/admin"`)
	if after := l.configMap().Data; !maps.Equal(after, before) {
		t.Errorf("the ConfigMap changed to %v", after)
	}
	l.edit(repair)
	l.reconcile()
	l.wantAccepted(metav1.ConditionTrue)
	if got := l.policy().Status.Revision; got <= revision || got != l.revision() {
		t.Errorf("the status records revision %d, want that of the document, %d, and more than %d", got, l.revision(), revision)
	}
}

// TestOldDocumentRestoredWithoutOperator checks that an old document is detected after a restart of the operator, by the revision
// in the policy's status.
func TestOldDocumentRestoredWithoutOperator(t *testing.T) {
	l := newCluster(t)
	l.reconcile()
	old := l.configMap().Data
	l.edit(func(s *v1alpha1.SecurityPolicySpec) { s.Headers = &v1alpha1.Headers{Preset: v1alpha1.PresetStrict} })
	l.reconcile()
	revision := l.revision()

	t.Run("invalid policy: the old document is not the last good one", func(t *testing.T) {
		l.restore(old)
		l.edit(invalidate)
		l.restart()
		l.reconcile()
		l.wantAccepted(metav1.ConditionFalse, "is no longer in its ConfigMap")
		if s := l.policy().Status; s.Document != "" || s.Revision != revision {
			t.Errorf("the status records document %q, revision %d; want no document, and still %d", s.Document, s.Revision, revision)
		}
	})
	t.Run("valid policy: the old document is replaced by a newer one", func(t *testing.T) {
		l.restore(old)
		l.edit(repair)
		l.restart()
		l.reconcile()
		l.wantAccepted(metav1.ConditionTrue)
		if got := l.revision(); got <= revision || got != l.policy().Status.Revision {
			t.Errorf("the revision is %d, the status's %d; want more than %d", got, l.policy().Status.Revision, revision)
		}
	})
	t.Run("an implausible recorded revision is ignored", func(t *testing.T) {
		p := l.policy()
		p.Status.Revision = 1 << 62
		if err := l.c.Status().Update(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		l.restart()
		l.reconcile()
		if got := l.policy().Status.Revision; got != l.revision() {
			t.Errorf("the status records revision %d, want %d", got, l.revision())
		}
	})
}

// TestFirstDocumentIsAboveTheFloor: pods that are created before the first document have the policy's creation time as their floor,
// and the operator's clock can be behind that of the API server.
func TestFirstDocumentIsAboveTheFloor(t *testing.T) {
	l := newCluster(t)
	p := l.policy()
	p.CreationTimestamp = metav1.NewTime(created)
	if err := l.c.Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	floor := compile.Floor(p, nil)
	if floor != created.UnixMilli() {
		t.Fatalf("the floor is %d, want %d", floor, created.UnixMilli())
	}
	l.clock.SetTime(created.Add(-time.Hour))
	l.reconcile()
	if l.revision() < floor {
		t.Errorf("the revision is %d, want %d at least", l.revision(), floor)
	}
}
