package inject

import (
	"context"
	"encoding/json"
	"errors"
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
)

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(s), v1alpha1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// class returns the default class.
func class() *v1alpha1.SidecarClass {
	return &v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{
		Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}}
}

// securityPolicy returns a policy in shop that selects app=orders and is age hours old.
func securityPolicy(name string, age int) *v1alpha1.SecurityPolicy {
	created := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC).Add(-time.Duration(age) * time.Hour)
	return &v1alpha1.SecurityPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.NewTime(created)},
		Spec:       v1alpha1.SecurityPolicySpec{Selector: metav1.LabelSelector{MatchLabels: map[string]string{"app": "orders"}}},
	}
}

func namespace(level string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{enforceLabel: level}}}
}

// handler returns a handler that reads these objects. Reading the resource broken fails.
func handler(t *testing.T, broken string, objects ...client.Object) *Handler {
	t.Helper()
	s := scheme(t)
	reader := fake.NewClientBuilder().WithScheme(s).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			_, policies := list.(*v1alpha1.SecurityPolicyList)
			if policies && broken == "policies" || !policies && broken == "classes" {
				return errors.New("no connection")
			}
			return c.List(ctx, list, opts...)
		},
	}).Build()
	h, err := NewHandler(Config{
		Policies: livePolicies{reader}, Reader: reader, Live: reader, Scheme: s, Settings: settings, Registerer: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// request returns an admission request for the pod in shop. The pod's own namespace is empty, as in pods that controllers create.
func request(t *testing.T, pod *corev1.Pod) admission.Request {
	t.Helper()
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
		Operation: admissionv1.Create, Namespace: "shop",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Object:   runtime.RawExtension{Raw: encode(t, pod)},
	}}
}

func TestHandler(t *testing.T) {
	invalid := securityPolicy("orders", 1)
	invalid.Spec.RateLimits = []v1alpha1.RateLimit{{Name: "x", Limit: "many"}}
	classless := securityPolicy("orders", 1)
	classless.Spec.SidecarClassName = ptr.To("gone")
	going := securityPolicy("orders", 9)
	going.DeletionTimestamp, going.Finalizers = ptr.To(metav1.Now()), []string{"x/y"}
	elsewhere := securityPolicy("orders", 9)
	elsewhere.Namespace = "other"
	hostNetwork := appPod()
	hostNetwork.Spec.HostNetwork = true
	other := appPod()
	other.Labels = map[string]string{"app": "other"}

	for name, tc := range map[string]struct {
		pod        *corev1.Pod
		broken     string
		objects    []client.Object
		wantResult string
		// wantPolicy is that of the sidecar. wantMessage must be in the message of a refusal.
		wantPolicy, wantMessage string
	}{
		"selected":        {appPod(), "", []client.Object{namespace(""), class(), securityPolicy("orders", 1)}, resultInjected, "orders", ""},
		"oldest wins":     {appPod(), "", []client.Object{namespace(""), class(), securityPolicy("a", 1), securityPolicy("b", 2)}, resultInjected, "b", ""},
		"being deleted":   {appPod(), "", []client.Object{namespace(""), class(), going, securityPolicy("young", 1)}, resultInjected, "young", ""},
		"no policy":       {appPod(), "", []client.Object{namespace(""), class()}, resultUnselected, "", ""},
		"other namespace": {appPod(), "", []client.Object{namespace(""), class(), elsewhere}, resultUnselected, "", ""},
		"other labels":    {other, "", []client.Object{namespace(""), class(), securityPolicy("orders", 1)}, resultUnselected, "", ""},
		"refused": {hostNetwork, "", []client.Object{namespace(""), class(), securityPolicy("orders", 1)}, resultRefused, "",
			`policy "orders" selects this pod, but the pod cannot get its sidecar: it uses the node's network`},
		"restricted":               {appPod(), "", []client.Object{namespace("restricted"), class(), securityPolicy("orders", 1)}, resultRefused, "", "Takeover"},
		"invalid policy":           {appPod(), "", []client.Object{namespace(""), class(), invalid}, resultRefused, "", "spec.rateLimits[0].limit"},
		"class missing":            {appPod(), "", []client.Object{namespace(""), class(), classless}, resultRefused, "", `no SidecarClass "gone"`},
		"no default class":         {appPod(), "", []client.Object{namespace(""), securityPolicy("orders", 1)}, resultRefused, "", "sidecarClassName"},
		"policies cannot be read":  {appPod(), "policies", []client.Object{namespace(""), class()}, resultFailed, "", "listing policies"},
		"classes cannot be read":   {appPod(), "classes", []client.Object{namespace(""), class(), securityPolicy("orders", 1)}, resultFailed, "", "listing classes"},
		"namespace cannot be read": {appPod(), "", []client.Object{class(), securityPolicy("orders", 1)}, resultFailed, "", "reading namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			h := handler(t, tc.broken, tc.objects...)
			response := h.Handle(t.Context(), request(t, tc.pod))
			if got := testutil.ToFloat64(h.injections.WithLabelValues(tc.wantResult)); got != 1 {
				t.Errorf("the result is not counted as %s", tc.wantResult)
			}
			if response.Allowed != (tc.wantMessage == "") {
				t.Fatalf("allowed: %t, %v", response.Allowed, response.Result)
			}
			if tc.wantMessage != "" && !strings.Contains(response.Result.Message, tc.wantMessage) {
				t.Errorf("the message is %q, want %q in it", response.Result.Message, tc.wantMessage)
			}
			if got := policyOf(t, response); got != tc.wantPolicy {
				t.Errorf("the sidecar's policy is %q, want %q", got, tc.wantPolicy)
			}
		})
	}
}

// policyOf returns the policy in the annotations of the response's patch; empty without a patch.
func policyOf(t *testing.T, response admission.Response) string {
	t.Helper()
	for _, op := range response.Patches {
		if op.Path == "/metadata/annotations" {
			var annotations map[string]string
			if err := json.Unmarshal(encode(t, op.Value), &annotations); err != nil {
				t.Fatal(err)
			}
			return annotations["postern.dev/policy"]
		}
	}
	return ""
}

func TestHandlerLooksAtNewPodsAlone(t *testing.T) {
	h := handler(t, "", namespace(""), class(), securityPolicy("orders", 1))
	for name, change := range map[string]func(*admission.Request){
		"update":      func(r *admission.Request) { r.Operation = admissionv1.Update },
		"subresource": func(r *admission.Request) { r.SubResource = "exec" },
		"other kind":  func(r *admission.Request) { r.Resource.Resource = "services" },
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, appPod())
			change(&req)
			if response := h.Handle(t.Context(), req); !response.Allowed || len(response.Patches) > 0 {
				t.Errorf("got %+v", response)
			}
		})
	}
}

func TestHandlerRefusesWhatIsNoPod(t *testing.T) {
	h := handler(t, "")
	req := request(t, appPod())
	req.Object.Raw = []byte(`{"spec": []}`)
	if response := h.Handle(t.Context(), req); response.Allowed {
		t.Errorf("got %+v", response)
	}
}

func TestNewHandlerNeedsItsMetrics(t *testing.T) {
	config := handler(t, "").config
	if _, err := NewHandler(config); err == nil {
		t.Error("the metrics were registered twice")
	}
}
