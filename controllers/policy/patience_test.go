package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
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

// scene is a policy with one pod, whose sidecar enforced its document before the clock was looked at.
type scene struct {
	t     *testing.T
	c     client.Client
	clock *clocktesting.FakePassiveClock
	r     *Reconciler
	pod   *corev1.Pod
	told  *events.FakeRecorder
}

func newScene(t *testing.T) *scene {
	t.Helper()
	objects := world()
	trusting(objects[2].(*v1alpha1.SecurityPolicy), v1alpha1.JWKS{URI: "https://corp/keys"})
	s := &scene{t: t, clock: clocktesting.NewFakePassiveClock(born), pod: bound(corev1.PodRunning), told: events.NewFakeRecorder(64)}
	s.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(append(objects, s.pod)...).
		WithStatusSubresource(&v1alpha1.SecurityPolicy{}, &corev1.Pod{}).Build()
	s.r = newTestReconciler(s.c, s.clock)
	o, err := s.r.gather(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	s.pod.Annotations = map[string]string{render.InjectionAnnotation: judge(o, s.r.cfg.Settings(), nil, born).injection}
	s.must(s.c.Update(t.Context(), s.pod))
	s.reconcile()
	s.report(s.document())
	s.reconcile()
	s.r.cfg.Events = s.told
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

// document is the hash of the one that is stored.
func (s *scene) document() string {
	s.t.Helper()
	cm := stored(s.t, born)
	s.must(s.c.Get(s.t.Context(), client.ObjectKeyFromObject(cm), cm))
	return first(s.r.open(cm, name)).hash
}

// report lets the sidecar say that it runs the document.
func (s *scene) report(hash string) {
	s.t.Helper()
	message, err := json.Marshal(compiled.Report{Hash: hash, SchemaVersion: 1})
	s.must(err)
	s.pod.Status.Conditions = []corev1.PodCondition{{Type: deliver.ConditionSidecar, Status: corev1.ConditionTrue, Message: string(message)}}
	s.must(s.c.Status().Update(s.t.Context(), s.pod))
}

// want compares Enforced and the document that the status is about, and says whether anybody was told of anything.
func (s *scene) want(enforced, document string, told bool) {
	s.t.Helper()
	p := &v1alpha1.SecurityPolicy{}
	s.must(s.c.Get(s.t.Context(), name, p))
	c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionEnforced)
	if c == nil || c.Reason != enforced || p.Status.Document != document {
		s.t.Errorf("Enforced is %+v for %s, want %s for %s", c, p.Status.Document, enforced, document)
	}
	if got := len(s.told.Events) > 0; got != told {
		s.t.Errorf("events: %t, want %t", got, told)
	}
}

// TestRevocationsDoNotDisturbTheStatus: it waits for the sidecars, which take what is revoked in a moment.
func TestRevocationsDoNotDisturbTheStatus(t *testing.T) {
	s := newScene(t)
	first := s.document()
	s.want(v1alpha1.ReasonEnforced, first, false)
	s.revoke("a")
	if again := s.reconcile(); again != answerTime {
		t.Errorf("due again after %s, want %s", again, answerTime)
	}
	s.want(v1alpha1.ReasonEnforced, first, false)
	second := s.document()
	s.clock.SetTime(born.Add(time.Second))
	s.revoke("b")
	if again := s.reconcile(); again != answerTime-time.Second {
		t.Errorf("due again after %s, though a second of %s has passed", again, answerTime)
	}
	s.report(second)
	s.reconcile()
	s.want(v1alpha1.ReasonEnforced, first, false)
	s.report(s.document())
	s.reconcile()
	s.want(v1alpha1.ReasonEnforced, s.document(), false)
}

// TestSidecarsThatLagAreTold: the wait ends, however many revocations follow each other, and nothing else waits.
func TestSidecarsThatLagAreTold(t *testing.T) {
	t.Run("revocations without end", func(t *testing.T) {
		s := newScene(t)
		for i := range 5 {
			s.clock.SetTime(born.Add(time.Duration(i) * answerTime / 4))
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
	t.Run("the end of the policy", func(t *testing.T) {
		s := newScene(t)
		s.revoke("a")
		s.reconcile()
		s.must(s.c.Delete(t.Context(), world()[2]))
		s.reconcile()
		if n := len(s.r.patience.waits); n > 0 {
			t.Errorf("%d statuses are waited for", n)
		}
	})
}
