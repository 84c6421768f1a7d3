package validate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

var now = time.Unix(1e9, 0)

func newHandler(t *testing.T, readErr error, objects ...client.Object) *Handler {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if readErr != nil {
				return readErr
			}
			return c.List(ctx, list, opts...)
		},
	}).Build()
	h, err := NewHandler(Config{
		Reader: reader, Policies: reader, Count: func(string) int { return len(objects) }, Scheme: scheme, Registerer: prometheus.NewRegistry(),
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func class(name string, change func(*v1alpha1.SidecarClass)) *v1alpha1.SidecarClass {
	c := &v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{
		Name: name, Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"},
	}}
	if change != nil {
		change(c)
	}
	return c
}

func policy(change func(*v1alpha1.SecurityPolicy)) *v1alpha1.SecurityPolicy {
	p := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}
	if change != nil {
		change(p)
	}
	return p
}

func invalidate(p *v1alpha1.SecurityPolicy) {
	p.Spec.RateLimits = []v1alpha1.RateLimit{{Name: "x", Limit: "many"}, {Name: "y", Limit: "few"}}
}

func trusting(p *v1alpha1.SecurityPolicy) {
	p.Spec.JWT = &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
		Name: "corp", Issuer: "https://corp.example", Audiences: []string{"shop"}, Algorithms: []v1alpha1.Algorithm{"RS256"},
		JWKS: v1alpha1.JWKS{URI: "https://corp.example/keys"}, MaxLifetime: "1h",
	}}}
}

func revocation(change func(*v1alpha1.TokenRevocationSpec)) *v1alpha1.TokenRevocation {
	r := &v1alpha1.TokenRevocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "r"}, Spec: v1alpha1.TokenRevocationSpec{TokenID: "j"},
	}
	if change != nil {
		change(&r.Spec)
	}
	return r
}

// request returns an admission request for an object; before is nil if it is created.
func request(t *testing.T, object, before client.Object) admission.Request {
	t.Helper()
	kind := strings.TrimPrefix(fmt.Sprintf("%T", object), "*v1alpha1.")
	r := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: object.GetNamespace(), Name: object.GetName(),
		Kind: metav1.GroupVersionKind{Group: "postern.dev", Version: "v1alpha1", Kind: kind},
	}}
	raw := func(o client.Object) []byte {
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r.Object.Raw = raw(object)
	if before != nil {
		r.Operation, r.OldObject.Raw = admissionv1.Update, raw(before)
	}
	return r
}

func TestHandler(t *testing.T) {
	labelled := policy(invalidate)
	labelled.Labels = map[string]string{"a": "b"}
	finalized := policy(invalidate)
	finalized.Finalizers = []string{"example.com/x"}
	going := policy(func(p *v1alpha1.SecurityPolicy) {
		invalidate(p)
		p.Spec.RateLimits[0].Limit = "none"
		p.DeletionTimestamp, p.Finalizers = ptr.To(metav1.NewTime(now)), []string{"example.com/x"}
	})
	vault := policy(func(p *v1alpha1.SecurityPolicy) {
		trusting(p)
		p.Spec.JWT.Providers[0].JWKS = v1alpha1.JWKS{Vault: &v1alpha1.VaultRef{Path: "secret/jwks", Key: "jwks"}}
	})
	badVault := *compile.UnknownClass().Spec.Vault
	badVault.CABundle = "nope"
	badClass := func(c *v1alpha1.SidecarClass) { c.Spec.DrainTimeout = "soon" }
	for name, tc := range map[string]struct {
		object, before client.Object
		world          []client.Object
		readErr        error
		// wantRefusals must be in the message, and wantWarnings in the warnings. If wantWarnings is empty, there must be none.
		wantRefusals, wantWarnings []string
		wantResult                 string
	}{
		"a valid policy": {object: policy(trusting), world: []client.Object{class("default", nil)}, wantResult: resultAllowed},
		"a policy with two mistakes": {
			object: policy(invalidate), world: []client.Object{class("default", nil)}, wantResult: resultRefused,
			wantRefusals: []string{"spec.rateLimits[0].limit: ", "spec.rateLimits[1].limit: "},
		},
		"a policy that becomes invalid": {
			object: policy(invalidate), before: policy(nil), world: []client.Object{class("default", nil)}, wantResult: resultRefused,
			wantRefusals: []string{"spec.rateLimits[0].limit: "},
		},
		"a policy that becomes valid":           {object: policy(nil), before: policy(invalidate), world: []client.Object{class("default", nil)}, wantResult: resultAllowed},
		"an invalid policy is labelled":         {object: labelled, before: policy(invalidate), world: []client.Object{class("default", nil)}, wantResult: resultAllowed},
		"an invalid policy loses its finalizer": {object: policy(invalidate), before: finalized, world: []client.Object{class("default", nil)}, wantResult: resultAllowed},
		"an invalid policy is being deleted":    {object: going, before: policy(nil), world: []client.Object{class("default", nil)}, wantResult: resultAllowed},
		"a policy with a warning": {
			object: policy(func(p *v1alpha1.SecurityPolicy) {
				trusting(p)
				p.Spec.JWT.Providers[0].Issuer = "https://*.example"
			}), world: []client.Object{class("default", nil)}, wantResult: resultAllowed, wantWarnings: []string{"spec.jwt.providers[0].issuer: "},
		},
		"the class is missing": {
			object: vault, wantResult: resultAllowed, wantWarnings: []string{"spec.sidecarClassName: ", "new pods are refused"},
		},
		"the class is missing, and a mistake": {
			object: policy(invalidate), wantResult: resultRefused, wantRefusals: []string{"spec.rateLimits[0].limit: "}, wantWarnings: []string{"spec.sidecarClassName: "},
		},
		"the class names no Vault": {
			object: vault, world: []client.Object{class("default", nil)}, wantResult: resultRefused, wantRefusals: []string{"has no Vault"},
		},
		"a mistake in the class": {
			object: policy(nil), world: []client.Object{class("default", badClass)}, wantResult: resultRefused, wantRefusals: []string{"sidecarClass.spec.drainTimeout: "},
		},
		"classes cannot be read": {
			object: policy(invalidate), readErr: errors.New("no connection"), wantResult: resultUnjudged, wantWarnings: []string{"did not check this object", "no connection"},
		},
		"a valid class":          {object: class("default", nil), wantResult: resultAllowed},
		"a class with a mistake": {object: class("default", badClass), wantResult: resultRefused, wantRefusals: []string{"this: spec.drainTimeout: "}},
		"a class with a mistake in its Vault, which no policy uses": {
			object: class("default", func(c *v1alpha1.SidecarClass) { c.Spec.Vault = &badVault }), wantResult: resultRefused,
			wantRefusals: []string{"this: spec.vault.caBundle: "},
		},
		"a class with a mistake is labelled": {
			object: class("default", func(c *v1alpha1.SidecarClass) { badClass(c); c.Labels = map[string]string{"a": "b"} }), before: class("default", badClass),
			wantResult: resultAllowed,
		},
		"a second default class": {
			object: class("b", nil), world: []client.Object{class("a", nil)}, wantResult: resultAllowed, wantWarnings: []string{`SidecarClass "a" is also marked default`},
		},
		"a second class, not default": {
			object: class("b", func(c *v1alpha1.SidecarClass) { c.Annotations = nil }), world: []client.Object{class("a", nil)}, wantResult: resultAllowed,
		},
		"a revocation": {object: revocation(nil), world: []client.Object{class("default", nil), policy(trusting)}, wantResult: resultAllowed},
		"a revocation for a missing policy": {
			object: revocation(func(s *v1alpha1.TokenRevocationSpec) { s.PolicyName = "ordres" }), world: []client.Object{class("default", nil), policy(trusting)},
			wantResult: resultAllowed, wantWarnings: []string{`spec.policyName: there is no SecurityPolicy "ordres" in namespace shop`},
		},
		"a revocation of an issuer that no policy trusts": {
			object: revocation(func(s *v1alpha1.TokenRevocationSpec) { s.Issuer = "https://other" }), world: []client.Object{class("default", nil), policy(trusting)},
			wantResult: resultAllowed, wantWarnings: []string{`spec.issuer: no SecurityPolicy in namespace shop accepts tokens of issuer "https://other"`},
		},
		"a revocation without a policy that accepts tokens": {
			object: revocation(nil), world: []client.Object{class("default", nil), policy(nil)}, wantResult: resultAllowed,
			wantWarnings: []string{"spec: no SecurityPolicy in namespace shop accepts tokens"},
		},
		"a revocation beside an invalid policy": {
			object: revocation(nil), world: []client.Object{class("default", nil), policy(invalidate)}, wantResult: resultAllowed,
		},
		"a revocation of expired tokens": {
			object: revocation(func(s *v1alpha1.TokenRevocationSpec) { s.Expires = ptr.To(metav1.NewTime(now.Add(-time.Hour))) }),
			world:  []client.Object{class("default", nil), policy(trusting)}, wantResult: resultAllowed, wantWarnings: []string{"has expired"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, tc.readErr, tc.world...)
			got := h.Handle(t.Context(), request(t, tc.object, tc.before))
			if got.Allowed != (len(tc.wantRefusals) == 0) {
				t.Fatalf("allowed: %t, %+v", got.Allowed, got.Result)
			}
			for _, want := range tc.wantRefusals {
				if !strings.Contains(got.Result.Message, want) {
					t.Errorf("the message is %q, want %q in it", got.Result.Message, want)
				}
			}
			if len(tc.wantWarnings) == 0 && len(got.Warnings) > 0 {
				t.Errorf("warnings: %q", got.Warnings)
			}
			for _, want := range tc.wantWarnings {
				if !slices.ContainsFunc(got.Warnings, func(w string) bool { return strings.Contains(w, want) }) {
					t.Errorf("the warnings are %q, want %q among them", got.Warnings, want)
				}
			}
			if n := testutil.ToFloat64(h.validations.WithLabelValues(tc.wantResult)); n != 1 {
				t.Errorf("the result is not counted as %s", tc.wantResult)
			}
		})
	}
}

// TestOthersAreAdmitted checks that deletions, subresources and other kinds are admitted.
func TestOthersAreAdmitted(t *testing.T) {
	h := newHandler(t, errors.New("nothing is read for these"))
	for name, change := range map[string]func(*admission.Request){
		"deletion":    func(r *admission.Request) { r.Operation = admissionv1.Delete },
		"subresource": func(r *admission.Request) { r.SubResource = "status" },
		"other kind":  func(r *admission.Request) { r.Kind.Kind = "Pod" },
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, policy(invalidate), nil)
			change(&req)
			if got := h.Handle(t.Context(), req); !got.Allowed || len(got.Warnings) > 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestBusyHandlerAdmits checks that an object that gets no slot in time is admitted.
func TestBusyHandlerAdmits(t *testing.T) {
	h := newHandler(t, nil, class("default", nil))
	for range slots {
		h.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := h.Handle(ctx, request(t, policy(invalidate), nil)); !got.Allowed || len(got.Warnings) != 1 {
		t.Errorf("got %+v", got)
	}
	<-h.slots
	if got := h.Handle(t.Context(), request(t, policy(invalidate), nil)); got.Allowed {
		t.Errorf("got %+v", got)
	}
	if len(h.slots) != slots-1 {
		t.Errorf("%d slots are in use, want %d", len(h.slots), slots-1)
	}
}

func TestUndecodableObjectsAreAdmitted(t *testing.T) {
	h := newHandler(t, nil)
	req := request(t, policy(nil), nil)
	req.Object.Raw = []byte(`{"spec": []}`)
	if got := h.Handle(t.Context(), req); !got.Allowed || len(got.Warnings) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	h := newHandler(t, nil, class("default", nil))
	got := h.Handle(t.Context(), request(t, policy(func(p *v1alpha1.SecurityPolicy) {
		for i := range maxListed + 5 {
			p.Spec.RateLimits = append(p.Spec.RateLimits, v1alpha1.RateLimit{Name: fmt.Sprint(i), Limit: "many"})
		}
	}), nil))
	if got.Allowed || !strings.HasSuffix(got.Result.Message, "and 5 more: postern lint -f FILE lists them") {
		t.Errorf("got %+v", got.Result)
	}
}

// FuzzHandle checks that every input gets a response, and that a refusal has a reason.
func FuzzHandle(f *testing.F) {
	f.Add("SecurityPolicy", []byte(`{"spec":{"rateLimits":[{"limit":"5/minute"}]}}`), []byte(`{}`))
	f.Add("SidecarClass", []byte(`{"spec":{"drainTimeout":"x"}}`), []byte(`{"spec":[]}`))
	f.Add("TokenRevocation", []byte(`{"spec":{"subject":"u","issuedBefore":"2026-01-01T00:00:00Z"}}`), []byte(``))
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		f.Fatal(err)
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(class("default", nil), policy(trusting)).Build()
	h, err := NewHandler(Config{
		Reader: reader, Policies: reader, Count: func(string) int { return 1 }, Scheme: scheme,
		Registerer: prometheus.NewRegistry(), Now: func() time.Time { return now },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind string, object, old []byte) {
		for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update} {
			got := h.Handle(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
				Operation: operation, Kind: metav1.GroupVersionKind{Kind: kind}, Namespace: "shop",
				Object: runtime.RawExtension{Raw: object}, OldObject: runtime.RawExtension{Raw: old},
			}})
			if !got.Allowed && got.Result.Message == "" {
				t.Errorf("the refusal has no reason")
			}
		}
	})
}

// TestLimits checks that objects which would cost the operator too much are refused at apply, with what to do.
func TestLimits(t *testing.T) {
	long := func(p *v1alpha1.SecurityPolicy) {
		p.Spec.Headers = &v1alpha1.Headers{HeaderRules: v1alpha1.HeaderRules{Set: []v1alpha1.HeaderField{{Name: "X-Long", Value: strings.Repeat("x", compile.MaxSpec)}}}}
	}
	wide := func(p *v1alpha1.SecurityPolicy) {
		p.Spec.Selector.MatchLabels = map[string]string{}
		for i := range 400 {
			p.Spec.Selector.MatchLabels[fmt.Sprintf("label-%d", i)] = "x"
		}
	}
	existing := policy(nil)
	existing.CreationTimestamp = metav1.NewTime(now)
	for name, tc := range map[string]struct {
		policy      *v1alpha1.SecurityPolicy
		count       int
		wantMessage string
	}{
		"a long spec":            {policy(long), 1, "at most 262144 are allowed: shorten it, or split the policy by selector"},
		"a long selector":        {policy(wide), 1, "at most 4096 are allowed: select by fewer labels or values"},
		"too many policies":      {policy(nil), compile.MaxPolicies, "namespace shop has 500 other SecurityPolicies"},
		"the last of them":       {policy(nil), compile.MaxPolicies - 1, ""},
		"a change of an old one": {existing, compile.MaxPolicies, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, nil, class("default", nil))
			h.config.Count = func(string) int { return tc.count }
			findings, err := h.policy(t.Context(), tc.policy)
			if err != nil {
				t.Fatal(err)
			}
			errs := strings.Join(texts(findings, compile.Error), "; ")
			if (errs == "") != (tc.wantMessage == "") || !strings.Contains(errs, tc.wantMessage) {
				t.Errorf("the errors are %q, want %q", errs, tc.wantMessage)
			}
		})
	}
}
