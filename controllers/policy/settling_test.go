package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

// scene is a policy with one pod, whose sidecar already enforces the document.
type scene struct {
	t     *testing.T
	c     client.Client
	clock *clocktesting.FakePassiveClock
	r     *Reconciler
	pod   *corev1.Pod
	sent  *events.FakeRecorder
}

func newScene(t *testing.T) *scene {
	t.Helper()
	objects := unreconciled()
	trusting(objects[2].(*v1alpha1.SecurityPolicy), v1alpha1.JWKS{URI: "https://corp/keys"})
	s := &scene{t: t, clock: clocktesting.NewFakePassiveClock(created), pod: bound(corev1.PodRunning), sent: events.NewFakeRecorder(64)}
	s.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(append(objects, s.pod)...).
		WithStatusSubresource(&v1alpha1.SecurityPolicy{}, &corev1.Pod{}).Build()
	s.r = newTestReconciler(s.c, s.clock)
	o, err := s.r.gather(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	v := judge(o, s.r.cfg.Settings(), nil, created)
	s.pod.Annotations = map[string]string{render.InjectionAnnotation: v.injection}
	s.pod.Spec.InitContainers, err = v.sidecar.InitContainers(render.Pod{})
	s.must(err)
	s.must(s.c.Update(t.Context(), s.pod))
	s.reconcile()
	s.report(s.document())
	s.reconcile()
	s.r.cfg.Events = s.sent
	return s
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *scene) reconcile() time.Duration {
	s.t.Helper()
	result, err := s.r.Reconcile(s.t.Context(), ctrl.Request{NamespacedName: name})
	s.must(err)
	return result.RequeueAfter
}

// revoke revokes one more token.
func (s *scene) revoke(jti string) {
	s.t.Helper()
	r := tokenRevocation(jti, jti)
	r.Spec.Issuer = "https://corp"
	s.must(s.c.Create(s.t.Context(), r))
}

// document returns the hash of the stored document.
func (s *scene) document() string {
	s.t.Helper()
	cm := stored(s.t, created)
	s.must(s.c.Get(s.t.Context(), client.ObjectKeyFromObject(cm), cm))
	return first(s.r.open(cm, name)).hash
}

// report makes the sidecar report that it runs the document.
func (s *scene) report(hash string) {
	s.t.Helper()
	message, err := json.Marshal(compiled.Report{Hash: hash, SchemaVersion: 1})
	s.must(err)
	s.pod.Status.Conditions = []corev1.PodCondition{{
		Type: deliver.ConditionSidecar, Status: corev1.ConditionTrue, Message: string(message), LastProbeTime: metav1.NewTime(s.clock.Now()),
	}}
	s.must(s.c.Status().Update(s.t.Context(), s.pod))
}

// want checks the reason of Enforced, the document in the status, and whether there were events.
func (s *scene) want(enforced, document string, wantEvents bool) {
	s.t.Helper()
	p := &v1alpha1.SecurityPolicy{}
	s.must(s.c.Get(s.t.Context(), name, p))
	c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionEnforced)
	if c == nil || c.Reason != enforced || p.Status.Document != document {
		s.t.Errorf("Enforced is %+v for %s, want %s for %s", c, p.Status.Document, enforced, document)
	}
	if got := len(s.sent.Events) > 0; got != wantEvents {
		s.t.Errorf("events: %t, want %t", got, wantEvents)
	}
}

// TestRevocationsDoNotChangeEnforced checks that the status waits for the sidecars after a revocation, so that Enforced stays True.
func TestRevocationsDoNotChangeEnforced(t *testing.T) {
	s := newScene(t)
	first := s.document()
	s.want(v1alpha1.ReasonEnforced, first, false)
	s.revoke("a")
	if again := s.reconcile(); again != settleTime {
		t.Errorf("due again after %s, want %s", again, settleTime)
	}
	s.want(v1alpha1.ReasonEnforced, first, false)
	second := s.document()
	s.clock.SetTime(created.Add(time.Second))
	s.revoke("b")
	if again := s.reconcile(); again != settleTime-time.Second {
		t.Errorf("due again after %s, although a second of %s has passed", again, settleTime)
	}
	s.report(second)
	s.reconcile()
	s.want(v1alpha1.ReasonEnforced, first, false)
	s.report(s.document())
	s.reconcile()
	s.want(v1alpha1.ReasonEnforced, s.document(), false)
}

// TestSettlingEnds checks that the wait has a fixed end, however many revocations follow, and that other changes do not wait.
func TestSettlingEnds(t *testing.T) {
	t.Run("continuous revocations", func(t *testing.T) {
		s := newScene(t)
		for i := range 5 {
			s.clock.SetTime(created.Add(time.Duration(i) * settleTime / 4))
			s.revoke(strings.Repeat("x", i+1))
			s.reconcile()
		}
		s.want(v1alpha1.ReasonPodsOutdated, s.document(), true)
	})
	t.Run("a change of the policy", func(t *testing.T) {
		s := newScene(t)
		s.revoke("a")
		s.reconcile()
		p := &v1alpha1.SecurityPolicy{}
		s.must(s.c.Get(t.Context(), name, p))
		p.Spec.Headers = &v1alpha1.Headers{Preset: "API"}
		s.must(s.c.Update(t.Context(), p))
		s.reconcile()
		s.want(v1alpha1.ReasonPodsOutdated, s.document(), true)
	})
	t.Run("the policy is deleted", func(t *testing.T) {
		s := newScene(t)
		s.revoke("a")
		s.reconcile()
		s.must(s.c.Delete(t.Context(), unreconciled()[2]))
		s.reconcile()
		if n := len(s.r.settling.waits); n > 0 {
			t.Errorf("%d statuses still wait", n)
		}
	})
}
