package policy

import (
	"crypto/ed25519"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

var (
	key  = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	name = types.NamespacedName{Namespace: "shop", Name: "orders"}
)

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func stored(t *testing.T, revision time.Time) *corev1.ConfigMap {
	t.Helper()
	p := tombstone(&observation{name: name})
	p.Deleted, p.Revision, p.Headers = false, revision.UnixMilli(), &compiled.Headers{Preset: "API"}
	signed, err := compiled.Sign(p, key)
	if err != nil {
		t.Fatal(err)
	}
	return render.ConfigMap(name.Namespace, name.Name, signed)
}

// first returns the policy's document of the results of open.
func first(d *document, _ []*document) *document { return d }

func bound(phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-1"},
		Spec: corev1.PodSpec{InitContainers: []corev1.Container{{
			Name: render.SidecarName, Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: "orders"}},
		}}},
		Status: corev1.PodStatus{Phase: phase},
	}
}

// TestRetire checks that the document of a deleted policy becomes a tombstone, and is deleted when no pod is bound to the policy.
func TestRetire(t *testing.T) {
	now := time.Unix(1e9, 0)
	damaged := stored(t, now)
	damaged.Data[compiled.DocumentKey] = "{}"
	tests := map[string]struct {
		configMap   *corev1.ConfigMap
		pods        []client.Object
		after       time.Duration // of the second reconcile
		wantHeaders bool          // the tombstone is the last document
		wantKept    bool
	}{
		"no pod is bound":          {configMap: stored(t, now), after: 2 * tombstoneLife, wantHeaders: true},
		"too early":                {configMap: stored(t, now), after: tombstoneLife / 2, wantHeaders: true, wantKept: true},
		"a pod is bound":           {configMap: stored(t, now), pods: []client.Object{bound(corev1.PodRunning)}, after: time.Hour, wantHeaders: true, wantKept: true},
		"a finished pod was bound": {configMap: stored(t, now), pods: []client.Object{bound(corev1.PodSucceeded)}, after: time.Hour, wantHeaders: true},
		"the clock was ahead":      {configMap: stored(t, now.Add(time.Minute)), after: tombstoneLife, wantHeaders: true, wantKept: true},
		"the document was damaged": {configMap: damaged, after: tombstoneLife},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(now)
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(append(tt.pods, tt.configMap)...).Build()
			r := NewReconciler(Config{Client: c, Live: c, Key: key, Clock: clock})
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
				t.Fatal(err)
			}
			cm := &corev1.ConfigMap{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(tt.configMap), cm); err != nil {
				t.Fatal(err)
			}
			d := first(r.open(cm, name))
			if d == nil || !d.policy.Deleted || (d.policy.Headers != nil) != tt.wantHeaders {
				t.Fatalf("the tombstone is %+v", d)
			}
			clock.SetTime(now.Add(tt.after))
			result, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name})
			if err != nil {
				t.Fatal(err)
			}
			err = c.Get(t.Context(), client.ObjectKeyFromObject(tt.configMap), cm)
			if kept := err == nil; kept != tt.wantKept {
				t.Errorf("kept %t (%v), due again after %s", kept, err, result.RequeueAfter)
			}
		})
	}
}

func TestRevisions(t *testing.T) {
	now := time.UnixMilli(1000)
	at := func(revision int64) *document { return &document{policy: &compiled.Policy{Revision: revision}} }
	tests := map[string]struct {
		stored *document
		last   int64
		want   int64
	}{
		"first":                     {nil, 0, 1000},
		"after an older one":        {at(900), 900, 1000},
		"in the same millisecond":   {at(1000), 1000, 1001},
		"the clock was ahead":       {at(5000), 0, 5001},
		"the stored one is damaged": {nil, 2000, 2001},
	}
	for title, tt := range tests {
		t.Run(title, func(t *testing.T) {
			r := newRevisions()
			r.wrote(name, tt.last)
			if got := r.next(name, tt.stored, now); got != tt.want {
				t.Errorf("the revision is %d, want %d", got, tt.want)
			}
		})
	}
}

// TestReplayedDocument checks that a signed document that is older than the last one written is not used.
func TestReplayedDocument(t *testing.T) {
	r := NewReconciler(Config{Clock: clocktesting.NewFakePassiveClock(created), Key: key})
	cm := stored(t, time.Unix(1e9, 0))
	if first(r.open(cm, name)) == nil {
		t.Fatal("the document is not accepted")
	}
	if first(r.open(cm, types.NamespacedName{Namespace: "shop", Name: "other"})) != nil {
		t.Error("another policy's document is accepted")
	}
	r.revisions.wrote(name, time.Unix(1e9+1, 0).UnixMilli())
	if first(r.open(cm, name)) != nil {
		t.Error("an older document is accepted")
	}
}
