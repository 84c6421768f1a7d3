package revocation

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/policy"
	"github.com/posterndev/postern/controllers/render"
)

var (
	key   = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	start = time.Unix(1e9, 0)
)

// fixture is a namespace with the policy accounts, which trusts https://corp, and both reconcilers with a fake API server.
type fixture struct {
	client.Client
	t        *testing.T
	clock    *clocktesting.FakePassiveClock
	events   *events.FakeRecorder
	policies *policy.Reconciler
	*Reconciler
}

func newFixture(t *testing.T, objects ...client.Object) *fixture {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	objects = append(objects,
		&v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}},
		trusting("accounts"))
	w := &fixture{t: t, clock: clocktesting.NewFakePassiveClock(start), events: events.NewFakeRecorder(1000)}
	w.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.SecurityPolicy{}, &v1alpha1.TokenRevocation{}, &corev1.Pod{}).Build()
	w.policies = policy.NewReconciler(policy.Config{
		Client: w, Live: w, Key: key, Clock: w.clock, Events: events.NewFakeRecorder(1000),
		Settings: func() render.Settings { return render.Settings{} },
	})
	w.Reconciler = NewReconciler(Config{Client: w, Key: key.Public().(ed25519.PublicKey), Events: w.events, Clock: w.clock})
	return w
}

func trusting(name string) *v1alpha1.SecurityPolicy {
	p := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 1}}
	p.Spec.Selector.MatchLabels = map[string]string{"app": name}
	p.Spec.JWT = &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
		Name: "corp", Issuer: "https://corp", Audiences: []string{"shop"}, Algorithms: []v1alpha1.Algorithm{"RS256"},
		MaxLifetime: "1h", JWKS: v1alpha1.JWKS{URI: "https://corp/keys"},
	}}}
	return p
}

func revoking(name string) *v1alpha1.TokenRevocation {
	return &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 1, CreationTimestamp: metav1.NewTime(start)},
		Spec:       v1alpha1.TokenRevocationSpec{TokenID: "j-" + name},
	}
}

// pod returns a pod that the policy accounts selects. If bound is not empty, it has a sidecar of that policy.
func pod(name, bound string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "accounts"}}}
	if bound != "" {
		p.Spec.InitContainers = []corev1.Container{{
			Name: render.SidecarName, RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Env: []corev1.EnvVar{
				{Name: compiled.EnvPolicy, Value: bound},
				{Name: compiled.EnvDocumentKey, Value: render.Settings{DocumentKey: key.Public().(ed25519.PublicKey)}.DocumentKeyValue()},
			},
		}}
	}
	return p
}

func (w *fixture) create(objects ...client.Object) {
	w.t.Helper()
	for _, o := range objects {
		if err := w.Create(w.t.Context(), o); err != nil {
			w.t.Fatal(err)
		}
	}
}

// program writes the policies' documents, with new revisions.
func (w *fixture) program(policies ...string) {
	w.t.Helper()
	w.clock.SetTime(w.clock.Now().Add(time.Second))
	for _, p := range policies {
		if _, err := w.policies.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: p}}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *fixture) reconcile() ctrl.Result {
	w.t.Helper()
	result, err := w.Reconcile(w.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Name: "shop"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return result
}

// report makes the pods' sidecars report the policy's current document.
func (w *fixture) report(policy string, pods ...string) {
	w.t.Helper()
	cm := &corev1.ConfigMap{}
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: "shop", Name: render.ConfigMapName(policy)}, cm); err != nil {
		w.t.Fatal(err)
	}
	signed, _, err := render.Signed(cm, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	message, err := json.Marshal(compiled.Report{Hash: signed.Hash()})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, name := range pods {
		p := &corev1.Pod{}
		if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: "shop", Name: name}, p); err != nil {
			w.t.Fatal(err)
		}
		p.Status.Conditions = []corev1.PodCondition{{Type: deliver.ConditionSidecar, Message: string(message)}}
		if err := w.Status().Update(w.t.Context(), p); err != nil {
			w.t.Fatal(err)
		}
	}
}

// want checks the conditions of a revocation, as Accepted and Enforced with their reasons, and its counts.
func (w *fixture) want(name, accepted, enforced, sidecars string) *v1alpha1.TokenRevocation {
	w.t.Helper()
	r := &v1alpha1.TokenRevocation{}
	if err := w.Get(w.t.Context(), types.NamespacedName{Namespace: "shop", Name: name}, r); err != nil {
		w.t.Fatal(err)
	}
	for kind, want := range map[string]string{v1alpha1.ConditionAccepted: accepted, v1alpha1.ConditionEnforced: enforced} {
		c := meta.FindStatusCondition(r.Status.Conditions, kind)
		if c == nil || string(c.Status)+"/"+c.Reason != want {
			w.t.Errorf("%s of %s is %+v, want %s", kind, name, c, want)
		}
	}
	if s := r.Status.Sidecars; (s == nil) != (sidecars == "") || s != nil && s.Summary != sidecars {
		w.t.Errorf("%s has sidecars %+v, want %s", name, s, sidecars)
	}
	return r
}

// TestProof follows one revocation through documents and reports, a change, a restart of the operator, and its expiry.
func TestProof(t *testing.T) {
	w := newFixture(t, pod("a", "accounts"), pod("b", "accounts"))
	w.create(revoking("r"))
	w.reconcile()
	w.want("r", "True/Accepted", "False/NotProgrammed", "0/2")
	w.program("accounts")
	w.reconcile()
	w.want("r", "True/Accepted", "False/PodsOutdated", "0/2")
	w.report("accounts", "a")
	w.reconcile()
	w.want("r", "True/Accepted", "False/PodsOutdated", "1/2")
	w.report("accounts", "b")
	w.reconcile()
	r := w.want("r", "True/Accepted", "True/Enforced", "2/2")
	if r.Status.EnforcedTime == nil || !slices.Equal(r.Status.Policies, []string{"accounts"}) || !r.Status.Expires.Time.Equal(start.Add(2*time.Hour)) {
		t.Errorf("the status is %+v", r.Status)
	}

	r.Spec.TokenID, r.Generation = "another", 2
	if err := w.Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	w.reconcile()
	if r := w.want("r", "True/Accepted", "False/NotProgrammed", "0/2"); r.Status.EnforcedTime != nil {
		t.Error("enforcedTime is that of the previous generation")
	}
	w.program("accounts")
	w.report("accounts", "a", "b")
	w.Reconciler = NewReconciler(w.Reconciler.cfg)
	w.reconcile()
	w.want("r", "True/Accepted", "True/Enforced", "2/2")

	w.clock.SetTime(start.Add(time.Hour))
	if again := w.reconcile().RequeueAfter; again != time.Hour {
		t.Errorf("due again after %s, want 1h", again)
	}
	w.clock.SetTime(start.Add(2 * time.Hour))
	w.reconcile()
	w.want("r", "False/Expired", "False/Expired", "")
	close(w.events.Events)
	var got []string
	for e := range w.events.Events {
		got = append(got, strings.Join(strings.Fields(e)[:2], " "))
	}
	want := []string{"Normal PodsOutdated", "Normal Enforced", "Warning NotProgrammed", "Normal Enforced", "Normal Expired", "Normal Expired"}
	if !slices.Equal(got, want) {
		t.Errorf("events are %q, want %q", got, want)
	}
}

// TestOthersStayEnforced checks that another revocation, which changes the document, does not affect those that are enforced.
func TestOthersStayEnforced(t *testing.T) {
	w := newFixture(t, pod("a", "accounts"), revoking("first"))
	w.program("accounts")
	w.report("accounts", "a")
	w.reconcile()
	w.want("first", "True/Accepted", "True/Enforced", "1/1")
	w.create(revoking("second"))
	w.program("accounts")
	w.reconcile()
	w.want("first", "True/Accepted", "True/Enforced", "1/1")
	w.want("second", "True/Accepted", "False/PodsOutdated", "0/1")
	w.report("accounts", "a")
	w.reconcile()
	w.want("second", "True/Accepted", "True/Enforced", "1/1")
}

// TestWhichPodsCount checks which pods count for the policy accounts, which selects every pod unless the case says otherwise. There is
// a second policy named other.
func TestWhichPodsCount(t *testing.T) {
	deleted := pod("z", "accounts")
	deleted.Finalizers, deleted.DeletionTimestamp = []string{"example.com/x"}, &metav1.Time{Time: start}
	ended := pod("z", "accounts")
	ended.Status.Phase = corev1.PodSucceeded
	stranger := pod("z", "")
	stranger.Labels = nil
	once, foreign := pod("z", "accounts"), pod("z", "accounts")
	once.Spec.InitContainers[0].RestartPolicy = nil
	foreign.Spec.InitContainers[0].Env[1].Value = "AAAA"
	tests := map[string]struct {
		pod          *corev1.Pod
		reports      string // the policy whose document it reports
		wantEnforced string
		wantSidecars string
	}{
		"it runs":                              {pod("z", "accounts"), "accounts", "True/Enforced", "2/2"},
		"it has not reported":                  {pod("z", "accounts"), "", "False/PodsOutdated", "1/2"},
		"it reports another policy's document": {pod("z", "accounts"), "other", "False/PodsOutdated", "1/2"},
		"it has no sidecar":                    {pod("z", ""), "", "False/PodsOutdated", "1/2"},
		"it has no sidecar, but a report":      {pod("z", ""), "accounts", "False/PodsOutdated", "1/2"},
		"its sidecar is another policy's":      {pod("z", "other"), "other", "True/Enforced", "2/2"},
		"its sidecar's policy is deleted":      {pod("z", "gone"), "accounts", "False/PodsOutdated", "1/2"},
		"its container runs once":              {once, "accounts", "False/PodsOutdated", "1/2"},
		"its sidecar has another key":          {foreign, "accounts", "False/PodsOutdated", "1/2"},
		"it is being deleted":                  {deleted, "", "True/Enforced", "1/1"},
		"it has ended":                         {ended, "", "True/Enforced", "1/1"},
		"no policy selects it":                 {stranger, "", "True/Enforced", "1/1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newFixture(t, pod("a", "accounts"), tt.pod, trusting("other"), revoking("r"))
			w.program("accounts", "other")
			w.report("accounts", "a")
			if tt.reports != "" {
				w.report(tt.reports, "z")
			}
			w.reconcile()
			w.want("r", "True/Accepted", tt.wantEnforced, tt.wantSidecars)
		})
	}
}

// TestForgedDocuments checks that an unsigned document, and an old document that was restored, prove nothing.
func TestForgedDocuments(t *testing.T) {
	w := newFixture(t, pod("a", "accounts"), revoking("r"))
	w.program("accounts")
	w.report("accounts", "a")
	w.reconcile()
	w.want("r", "True/Accepted", "True/Enforced", "1/1")
	cm := &corev1.ConfigMap{}
	get := func() {
		t.Helper()
		if err := w.Get(t.Context(), types.NamespacedName{Namespace: "shop", Name: render.ConfigMapName("accounts")}, cm); err != nil {
			t.Fatal(err)
		}
	}
	get()
	old := cm.DeepCopy()
	w.create(revoking("second"))
	w.program("accounts")
	w.reconcile()
	for title, data := range map[string]map[string]string{
		"an older one": old.Data,
		"a forged one": {compiled.DocumentKey: cm.Data[compiled.DocumentKey], compiled.SignatureKey: "AAAA"},
	} {
		get()
		cm.Data = data
		if err := w.Update(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
		t.Log(title)
		w.reconcile()
		w.want("r", "True/Accepted", "False/NotProgrammed", "0/1")
		w.program("accounts")
		w.report("accounts", "a")
		w.reconcile()
		w.want("r", "True/Accepted", "True/Enforced", "1/1")
	}
}

// TestManyRevocations checks that the number of status writes per reconcile is bounded, and that new revocations are written first.
func TestManyRevocations(t *testing.T) {
	w := newFixture(t, pod("a", "accounts"))
	w.writes = 5
	for i := range 8 {
		w.create(revoking(fmt.Sprintf("r%d", i)))
	}
	w.program("accounts")
	w.report("accounts", "a")
	if again := w.reconcile().RequeueAfter; again != writeDelay {
		t.Errorf("the rest follows after %s, want %s", again, writeDelay)
	}
	if again := w.reconcile().RequeueAfter; again <= writeDelay {
		t.Errorf("due again after %s", again)
	}
	w.want("r7", "True/Accepted", "True/Enforced", "1/1")

	w.create(pod("b", ""), revoking("z"))
	w.program("accounts")
	w.reconcile()
	w.want("z", "True/Accepted", "False/PodsOutdated", "0/2")
	w.want("r7", "True/Accepted", "True/Enforced", "1/1")
	w.reconcile()
	w.want("r7", "True/Accepted", "False/PodsOutdated", "1/2")
}

// TestNoRevocations checks that nothing is read or remembered without revocations.
func TestNoRevocations(t *testing.T) {
	r := revoking("r")
	r.Finalizers, r.DeletionTimestamp = []string{"example.com/x"}, &metav1.Time{Time: start}
	w := newFixture(t, r)
	if result := w.reconcile(); result != (ctrl.Result{}) || len(w.history.namespaces) > 0 {
		t.Errorf("got %+v, and %d namespaces are remembered", result, len(w.history.namespaces))
	}
}
