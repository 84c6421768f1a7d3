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
	"github.com/posterndev/postern/controllers/render"
)

// life is one policy on a cluster, and the operator that reconciles it.
type life struct {
	t     *testing.T
	c     client.Client
	clock *clocktesting.FakePassiveClock
	r     *Reconciler
}

func newLife(t *testing.T) *life {
	t.Helper()
	l := &life{
		t:     t,
		c:     fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(world()...).WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build(),
		clock: clocktesting.NewFakePassiveClock(born),
	}
	l.restart()
	return l
}

// restart has another process reconcile, which remembers nothing.
func (l *life) restart() { l.r = newTestReconciler(l.c, l.clock) }

func (l *life) edit(change func(*v1alpha1.SecurityPolicySpec)) {
	l.t.Helper()
	p := l.policy()
	change(&p.Spec)
	p.Generation++
	if err := l.c.Update(l.t.Context(), p); err != nil {
		l.t.Fatal(err)
	}
}

// reconcile lets a second pass.
func (l *life) reconcile() {
	l.t.Helper()
	l.clock.SetTime(l.clock.Now().Add(time.Second))
	if _, err := l.r.Reconcile(l.t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) policy() *v1alpha1.SecurityPolicy {
	l.t.Helper()
	p := &v1alpha1.SecurityPolicy{}
	if err := l.c.Get(l.t.Context(), name, p); err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *life) configMap() *corev1.ConfigMap {
	l.t.Helper()
	cm := &corev1.ConfigMap{}
	if err := l.c.Get(l.t.Context(), client.ObjectKey{Namespace: name.Namespace, Name: render.ConfigMapName(name.Name)}, cm); err != nil {
		l.t.Fatal(err)
	}
	return cm
}

// putBack replaces what the ConfigMap holds.
func (l *life) putBack(data map[string]string) {
	l.t.Helper()
	cm := l.configMap()
	cm.Data = data
	if err := l.c.Update(l.t.Context(), cm); err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) wantAccepted(status metav1.ConditionStatus, texts ...string) {
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

func spoil(s *v1alpha1.SecurityPolicySpec) {
	s.RateLimits = []v1alpha1.RateLimit{{Name: "x", Limit: "many"}}
}

func repair(s *v1alpha1.SecurityPolicySpec) { s.RateLimits = nil }

func (l *life) revision() int64 {
	l.t.Helper()
	d := l.r.verify(l.configMap(), name)
	if len(d) == 0 {
		l.t.Fatal("the document is not the operator's")
	}
	return d[0].policy.Revision
}

// TestAnInvalidEditLeavesTheDocument: and the status says which pods run it.
func TestAnInvalidEditLeavesTheDocument(t *testing.T) {
	l := newLife(t)
	l.reconcile()
	before, revision := l.configMap().Data, l.revision()
	if got := l.policy().Status.Revision; got != revision {
		t.Errorf("the status records revision %d, want %d", got, revision)
	}
	l.edit(spoil)
	l.reconcile()
	l.wantAccepted(metav1.ConditionFalse, "spec.rateLimits[0].limit", "as in 5/minute", "Pods, new ones too, run the last good document: revision 1000000001000")
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

// TestAnOldDocumentPutBackWhileNoOperatorRan: the status remembers what the process that wrote it no longer does.
func TestAnOldDocumentPutBackWhileNoOperatorRan(t *testing.T) {
	l := newLife(t)
	l.reconcile()
	old := l.configMap().Data
	l.edit(func(s *v1alpha1.SecurityPolicySpec) { s.Headers = &v1alpha1.Headers{Preset: v1alpha1.PresetStrict} })
	l.reconcile()
	revision := l.revision()

	t.Run("the policy is invalid: it is not the last good one", func(t *testing.T) {
		l.putBack(old)
		l.edit(spoil)
		l.restart()
		l.reconcile()
		l.wantAccepted(metav1.ConditionFalse, "is no longer in its ConfigMap")
		if s := l.policy().Status; s.Document != "" || s.Revision != revision {
			t.Errorf("the status records document %q, revision %d; want none, and %d still", s.Document, s.Revision, revision)
		}
	})
	t.Run("the policy is valid: it is replaced by a newer one", func(t *testing.T) {
		l.putBack(old)
		l.edit(repair)
		l.restart()
		l.reconcile()
		l.wantAccepted(metav1.ConditionTrue)
		if got := l.revision(); got <= revision || got != l.policy().Status.Revision {
			t.Errorf("the revision is %d, the status's %d; want more than %d", got, l.policy().Status.Revision, revision)
		}
	})
	t.Run("a recorded revision that makes no sense is ignored", func(t *testing.T) {
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
