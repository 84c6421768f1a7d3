package inject

import (
	"crypto/ed25519"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/render"
)

// world is the objects of a handler. They have UIDs, without which nothing is kept.
type world struct {
	t       *testing.T
	client  client.Client
	handler *Handler
	// key is the one that the handler verifies documents with.
	key ed25519.PublicKey
}

func firstPolicy() *v1alpha1.SecurityPolicy {
	p := securityPolicy("orders", 1)
	p.UID, p.Generation, p.Spec.JWT = "policy", 1, provider("first")
	return p
}

func newWorld(t *testing.T) *world {
	t.Helper()
	policy, class := firstPolicy(), class()
	class.UID = "class"
	other := class.DeepCopy()
	other.Name, other.UID, other.Spec.Image, other.Annotations = "other", "other", "example.com/other:1", nil
	document := documentOf(t, policy, 50, nil)
	document.UID = "document"
	h := signedHandler(t, namespace(""), class, other, policy, document)
	w := &world{t, h.config.Live.(client.Client), h, signingKey.Public().(ed25519.PublicKey)}
	h.config.Settings = w.settings
	return w
}

func (w *world) settings() render.Settings {
	s := settings()
	s.DocumentKey = w.key
	return s
}

// modify changes an object as the API server does: it has another version then.
func modify[T client.Object](w *world, name types.NamespacedName, object T, change func(T)) {
	w.t.Helper()
	if err := w.client.Get(w.t.Context(), name, object); err != nil {
		w.t.Fatal(err)
	}
	change(object)
	if err := w.client.Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) policy(change func(*v1alpha1.SecurityPolicy)) {
	modify(w, types.NamespacedName{Namespace: "shop", Name: "orders"}, &v1alpha1.SecurityPolicy{}, change)
}

func (w *world) class(name string, change func(*v1alpha1.SidecarClass)) {
	modify(w, types.NamespacedName{Name: name}, &v1alpha1.SidecarClass{}, change)
}

// withRedis gives the class a Redis server with a password, which documents then name.
func withRedis(c *v1alpha1.SidecarClass) {
	password := &v1alpha1.SecretRef{SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "redis", Key: "password"}}
	c.Spec.Redis = &v1alpha1.Redis{Addresses: []string{"redis:6379"}, PasswordRef: password}
}

// moveDefault makes that class the default.
func (w *world) moveDefault(name string) {
	annotations := map[string]string{v1alpha1.DefaultClassAnnotation: "true"}
	w.class("default", func(c *v1alpha1.SidecarClass) { c.Annotations = nil })
	w.class(name, func(c *v1alpha1.SidecarClass) { c.Annotations = annotations })
}

// rewrite replaces the document of the first generation.
func (w *world) rewrite(revision int64, change func(*compiled.Policy)) {
	w.t.Helper()
	next := documentOf(w.t, firstPolicy(), revision, change)
	modify(w, client.ObjectKeyFromObject(next), &corev1.ConfigMap{}, func(cm *corev1.ConfigMap) { cm.Data = next.Data })
}

// mounting makes the document one that mounts that Secret.
func mounting(secret string) func(*compiled.Policy) {
	return func(p *compiled.Policy) { p.Providers[0].Keys.Secret.Name = secret }
}

// admitted returns the patch for a new pod.
func (w *world) admitted() string {
	w.t.Helper()
	response := w.handler.Handle(w.t.Context(), request(w.t, appPod()))
	if !response.Allowed {
		w.t.Fatalf("the pod is refused: %v", response.Result)
	}
	return string(encode(w.t, response.Patches))
}

// TestMemoIsNeverOutdated changes each thing that a pod's sidecar depends on, after the handler has injected the same pod, and checks that
// the next pod gets exactly what a handler that remembers nothing gives it.
func TestMemoIsNeverOutdated(t *testing.T) {
	edit := func(change func(*v1alpha1.SecurityPolicy)) func(*world) {
		return func(w *world) { w.policy(func(p *v1alpha1.SecurityPolicy) { p.Generation++; change(p) }) }
	}
	invalid := edit(func(p *v1alpha1.SecurityPolicy) { p.Spec.RateLimits = []v1alpha1.RateLimit{{Name: "x", Limit: "many"}} })
	for name, tc := range map[string]struct {
		change func(*world)
		// want must be in the patch after the change, and not before.
		want string
	}{
		"the policy":       {edit(func(p *v1alpha1.SecurityPolicy) { p.Spec.JWT = provider("second") }), `"secretName":"second"`},
		"its interception": {edit(func(p *v1alpha1.SecurityPolicy) { p.Spec.Interception = v1alpha1.InterceptTakeover }), `"Takeover"`},
		"its class":        {edit(func(p *v1alpha1.SecurityPolicy) { p.Spec.SidecarClassName = ptr.To("other") }), "example.com/other:1"},
		"its revision":     {func(w *world) { w.policy(func(p *v1alpha1.SecurityPolicy) { p.Status.Revision = 90 }) }, `"value":"90"`},
		"the class": {func(w *world) {
			w.class("default", func(c *v1alpha1.SidecarClass) { c.Spec.Image = "example.com/new:1" })
		}, "example.com/new:1"},
		"the class's Redis":  {func(w *world) { w.class("default", withRedis) }, `"secretName":"redis"`},
		"the default class":  {func(w *world) { w.moveDefault("other") }, "example.com/other:1"},
		"the document":       {func(w *world) { w.rewrite(60, nil) }, `"value":"60"`},
		"a tombstone":        {func(w *world) { w.rewrite(60, func(p *compiled.Policy) { p.Deleted = true }) }, `"value":"61"`},
		"the documents' key": {func(w *world) { w.key = make(ed25519.PublicKey, ed25519.PublicKeySize) }, "AAAAAAAAAAAA"},
		"the last good document": {func(w *world) {
			w.rewrite(60, mounting("second"))
			invalid(w)
			w.admitted()
			w.rewrite(70, mounting("third"))
		}, `"secretName":"third"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			before := w.admitted()
			if again, m := w.admitted(), w.handler.memo; again != before || m.compilations.Len() != 1 || m.openings.Len() != 1 {
				t.Fatalf("with %d and %d entries the same pod gets\n%s\n%s", m.compilations.Len(), m.openings.Len(), before, again)
			}
			tc.change(w)
			got := w.admitted()
			w.handler.memo = newMemo()
			if want := w.admitted(); got != want || !strings.Contains(got, tc.want) || strings.Contains(before, tc.want) {
				t.Errorf("after the change the pod gets\n%s\nwant, with %s,\n%s", got, tc.want, want)
			}
		})
	}
}

// TestMemoIsBounded checks that neither many policies nor large ones make it grow.
func TestMemoIsBounded(t *testing.T) {
	m := newMemo()
	class := class()
	class.UID, class.ResourceVersion = "class", "1"
	for i := range int64(maxMemo + 10) {
		policy := firstPolicy()
		policy.Generation = i + 1
		in := compile.Input{Policy: policy, Classes: []v1alpha1.SidecarClass{*class}}
		if _, err := m.document(in, class); err != nil {
			t.Fatal(err)
		}
	}
	if n := m.compilations.Len(); n != maxMemo {
		t.Errorf("%d documents are kept, want %d", n, maxMemo)
	}
	m = newMemo()
	in := compile.Input{Policy: firstPolicy(), Size: maxMemoBytes + 1, Classes: []v1alpha1.SidecarClass{*class}}
	large := documentOf(t, firstPolicy(), 1, nil)
	large.UID, large.ResourceVersion, large.BinaryData = "document", "1", map[string][]byte{"x": make([]byte, maxMemoBytes)}
	if _, err := m.document(in, class); err != nil || m.open(large, "orders", signingKey.Public().(ed25519.PublicKey)) == nil {
		t.Fatalf("a large object is not used: %v", err)
	}
	if m.compilations.Len() != 0 || m.openings.Len() != 0 {
		t.Error("a large object is kept")
	}
}
