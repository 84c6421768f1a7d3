package inject

import (
	"crypto/ed25519"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/render"
)

var signingKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// documentOf returns a ConfigMap with the policy's signed document, to which change was applied before it was signed.
func documentOf(t *testing.T, policy *v1alpha1.SecurityPolicy, revision int64, change func(*compiled.Policy)) *corev1.ConfigMap {
	t.Helper()
	document, findings := compile.Compile(policy, class())
	if document == nil {
		t.Fatal(findings)
	}
	document.Revision = revision
	if change != nil {
		change(document)
	}
	signed, err := compiled.Sign(document, signingKey)
	if err != nil {
		t.Fatal(err)
	}
	return render.ConfigMap(policy.Namespace, policy.Name, signed)
}

// environmentIn returns the sidecar's environment in the response's patch; nil if the pod gets no sidecar.
func environmentIn(t *testing.T, response admission.Response) map[string]string {
	t.Helper()
	for _, op := range response.Patches {
		if op.Path != "/spec/initContainers" {
			continue
		}
		var containers []corev1.Container
		if err := json.Unmarshal(encode(t, op.Value), &containers); err != nil {
			t.Fatal(err)
		}
		for _, c := range containers {
			if c.Name == render.SidecarName {
				env := map[string]string{}
				for _, e := range c.Env {
					env[e.Name] = e.Value
				}
				return env
			}
		}
	}
	return nil
}

// TestNewPodsRunLastGoodDocument checks that new pods get the last good document if the policy cannot be compiled, and that their
// floor excludes older documents.
func TestNewPodsRunLastGoodDocument(t *testing.T) {
	policy := func(change func(*v1alpha1.SecurityPolicy)) *v1alpha1.SecurityPolicy {
		p := securityPolicy("orders", 1)
		if change != nil {
			change(p)
		}
		return p
	}
	broken := func(p *v1alpha1.SecurityPolicy) { p.Spec.RateLimits = []v1alpha1.RateLimit{{Name: "x", Limit: "many"}} }
	recorded := func(revision int64, then func(*v1alpha1.SecurityPolicy)) func(*v1alpha1.SecurityPolicy) {
		return func(p *v1alpha1.SecurityPolicy) {
			p.Status.Revision = revision
			if then != nil {
				then(p)
			}
		}
	}
	deleted := func(p *compiled.Policy) { p.Deleted = true }
	other := documentOf(t, securityPolicy("carts", 1), 70, nil)
	other.Name = render.ConfigMapName("orders")
	forged := documentOf(t, policy(nil), 70, nil)
	forged.Data[compiled.SignatureKey] = "AAAA"

	for name, tc := range map[string]struct {
		policy    *v1alpha1.SecurityPolicy
		configMap *corev1.ConfigMap
		wantFloor int64
		// wantMessage must be in the refusal; empty if the pod is admitted.
		wantMessage string
	}{
		"no document yet":                      {policy: policy(nil), wantFloor: securityPolicy("orders", 1).CreationTimestamp.UnixMilli()},
		"no document yet, and invalid":         {policy: policy(broken), wantMessage: "spec.rateLimits[0].limit"},
		"valid":                                {policy: policy(nil), configMap: documentOf(t, policy(nil), 50, nil), wantFloor: 50},
		"invalid":                              {policy: policy(broken), configMap: documentOf(t, policy(nil), 50, nil), wantFloor: 50},
		"invalid, as recorded":                 {policy: policy(recorded(50, broken)), configMap: documentOf(t, policy(nil), 50, nil), wantFloor: 50},
		"the status lags":                      {policy: policy(recorded(40, nil)), configMap: documentOf(t, policy(nil), 50, nil), wantFloor: 50},
		"an old one was restored":              {policy: policy(recorded(60, nil)), configMap: documentOf(t, policy(nil), 50, nil), wantFloor: 60},
		"an old one was restored, and invalid": {policy: policy(recorded(60, broken)), configMap: documentOf(t, policy(nil), 50, nil), wantMessage: "spec.rateLimits[0].limit"},
		"the document was deleted":             {policy: policy(recorded(60, nil)), wantFloor: 60},
		"a policy of that name was deleted":    {policy: policy(nil), configMap: documentOf(t, policy(nil), 50, deleted), wantFloor: 51},
		"deleted before, and invalid":          {policy: policy(broken), configMap: documentOf(t, policy(nil), 50, deleted), wantMessage: "spec.rateLimits[0].limit"},
		"another policy's document":            {policy: policy(broken), configMap: other, wantMessage: "spec.rateLimits[0].limit"},
		"a forged document":                    {policy: policy(nil), configMap: forged, wantFloor: securityPolicy("orders", 1).CreationTimestamp.UnixMilli()},
		"an implausible revision":              {policy: policy(recorded(1<<62, nil)), configMap: documentOf(t, policy(nil), 50, nil), wantFloor: 50},
		"an invalid selector": {
			policy: policy(func(p *v1alpha1.SecurityPolicy) {
				p.Spec.Selector = metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}
			}),
			configMap: documentOf(t, policy(nil), 50, nil), wantMessage: "spec.selector",
		},
		"class missing": {
			policy:    policy(func(p *v1alpha1.SecurityPolicy) { p.Spec.SidecarClassName = ptr.To("gone") }),
			configMap: documentOf(t, policy(nil), 50, nil), wantMessage: `no SidecarClass "gone"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{namespace(""), class(), tc.policy}
			if tc.configMap != nil {
				objects = append(objects, tc.configMap.DeepCopy())
			}
			response := signedHandler(t, objects...).Handle(t.Context(), request(t, appPod()))
			if response.Allowed != (tc.wantMessage == "") {
				t.Fatalf("allowed: %t, %v", response.Allowed, response.Result)
			}
			if tc.wantMessage != "" {
				if !strings.Contains(response.Result.Message, tc.wantMessage) {
					t.Errorf("the message is %q, want %q in it", response.Result.Message, tc.wantMessage)
				}
				return
			}
			env := environmentIn(t, response)
			if env[compiled.EnvPolicy] != "orders" {
				t.Fatalf("the environment is %v", env)
			}
			floor, _ := strconv.ParseInt(env[compiled.EnvDocumentFloor], 10, 64)
			if _, set := env[compiled.EnvDocumentFloor]; floor != tc.wantFloor || set != (tc.wantFloor > 0) {
				t.Errorf("the floor is %q, want %d", env[compiled.EnvDocumentFloor], tc.wantFloor)
			}
		})
	}
}

// TestMountsOfLastGoodDocument checks that a pod mounts the Secrets of the last good document, and not those of an invalid edit.
func TestMountsOfLastGoodDocument(t *testing.T) {
	good, edited := securityPolicy("orders", 1), securityPolicy("orders", 1)
	good.Spec.JWT = provider("first")
	edited.Spec.JWT = provider("second")
	edited.Spec.RateLimits = []v1alpha1.RateLimit{{Name: "x", Limit: "many"}}
	h := signedHandler(t, namespace(""), class(), edited, documentOf(t, good, 50, nil))
	response := h.Handle(t.Context(), request(t, appPod()))
	patch := string(encode(t, response.Patches))
	if !response.Allowed || !strings.Contains(patch, `"secretName":"first"`) || strings.Contains(patch, `"secretName":"second"`) {
		t.Errorf("allowed %t, %v: %s", response.Allowed, response.Result, patch)
	}
}

// provider returns a provider whose keys are in that Secret.
func provider(secret string) *v1alpha1.JWT {
	return &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
		Name: "corp", Issuer: "https://corp.example", Audiences: []string{"shop"}, Algorithms: []v1alpha1.Algorithm{"RS256"},
		JWKS: v1alpha1.JWKS{SecretKeyRef: &v1alpha1.SecretKeyRef{Name: secret, Key: "jwks.json"}},
	}}}
}

// signedHandler returns a handler that accepts documents that signingKey signed.
func signedHandler(t *testing.T, objects ...client.Object) *Handler {
	t.Helper()
	s := scheme(t)
	known := settings()
	known.DocumentKey = signingKey.Public().(ed25519.PublicKey)
	reader := fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).Build()
	h, err := NewHandler(Config{
		Policies: livePolicies{reader}, Reader: reader, Live: reader, Scheme: s,
		Settings: func() render.Settings { return known }, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return h
}
