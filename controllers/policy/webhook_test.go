package policy

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// configured returns the MutatingWebhookConfiguration of config/webhook.
func configured(t *testing.T) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "config", "webhook", "manifests.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	document, _, _ := strings.Cut(string(b), "\n---\n")
	c := &admissionv1.MutatingWebhookConfiguration{}
	if err := yaml.UnmarshalStrict([]byte(document), c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestWebhookMissing changes the webhook's configuration in each way that lets new pods avoid their sidecar.
func TestWebhookMissing(t *testing.T) {
	for title, tc := range map[string]struct {
		edit func(*admissionv1.MutatingWebhookConfiguration) *admissionv1.MutatingWebhookConfiguration
		// want is in the message of Programmed; empty if it is True. elsewhere says that other namespaces are not affected.
		want      string
		elsewhere bool
	}{
		"unchanged":  {edit: func(c *admissionv1.MutatingWebhookConfiguration) *admissionv1.MutatingWebhookConfiguration { return c }},
		"deleted":    {edit: func(*admissionv1.MutatingWebhookConfiguration) *admissionv1.MutatingWebhookConfiguration { return nil }, want: "is missing: restore it with helm upgrade"},
		"no webhook": {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks = nil }), want: "has no webhook"},
		"renamed":    {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) { c.Webhooks[0].Name = "x.y.z" }), want: "has no webhook"},
		"other rules": {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].Rules[0].Operations = []admissionv1.OperationType{admissionv1.Update}
		}), want: "has no rule for the creation of pods"},
		"wide rules": {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].Rules[0].Operations, c.Webhooks[0].Rules[0].Resources = []admissionv1.OperationType{admissionv1.OperationAll}, []string{"*/*"}
		})},
		"ignores failures": {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].FailurePolicy = ptr.To(admissionv1.Ignore)
		}), want: "failurePolicy Ignore"},
		"pods can leave": {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
		}), want: "objectSelector"},
		"an empty objectSelector": {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].ObjectSelector = &metav1.LabelSelector{}
		})},
		"conditions": {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].MatchConditions = []admissionv1.MatchCondition{{Name: "never", Expression: "false"}}
		}), want: "matchConditions"},
		"another namespace's": {edit: change(func(c *admissionv1.MutatingWebhookConfiguration) {
			c.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "x"}}
		}), want: "does not select the namespace: change the namespace's labels, or webhook.namespaceSelector of the chart", elsewhere: true},
	} {
		t.Run(title, func(t *testing.T) {
			objects := unreconciled()
			if config := tc.edit(configured(t)); config != nil {
				objects = append(objects, config)
			}
			c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build()
			r := newTestReconciler(c, clocktesting.NewFakePassiveClock(created))
			r.cfg.Webhook = "postern"
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
				t.Fatal(err)
			}
			wantProgrammed(t, c, v1alpha1.ReasonWebhookMissing, tc.want)
			var log bytes.Buffer
			check, err := NewWebhookCheck(c, "postern", prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			check.check(t.Context())
			check.check(t.Context())
			wantGauge := 1.0
			if tc.want != "" && !tc.elsewhere {
				wantGauge = 0
			}
			if got := testutil.ToFloat64(check.gauge); got != wantGauge {
				t.Errorf("the metric is %v, want %v", got, wantGauge)
			}
			if n := strings.Count(log.String(), "level=ERROR"); n != int(1-wantGauge) {
				t.Errorf("the log has %d errors: %s", n, &log)
			}
		})
	}
}

func change(edit func(*admissionv1.MutatingWebhookConfiguration)) func(*admissionv1.MutatingWebhookConfiguration) *admissionv1.MutatingWebhookConfiguration {
	return func(c *admissionv1.MutatingWebhookConfiguration) *admissionv1.MutatingWebhookConfiguration {
		edit(c)
		return c
	}
}

// wantProgrammed checks that Programmed is False for that reason with text in the message; True if text is empty.
func wantProgrammed(t *testing.T, c client.Client, reason, text string) {
	t.Helper()
	p := &v1alpha1.SecurityPolicy{}
	if err := c.Get(t.Context(), name, p); err != nil {
		t.Fatal(err)
	}
	got := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionProgrammed)
	if got == nil || (got.Status == metav1.ConditionTrue) != (text == "") {
		t.Fatalf("Programmed is %+v", got)
	}
	if text != "" && (got.Reason != reason || !strings.Contains(got.Message, text)) {
		t.Errorf("Programmed is %+v, want %s with %q", got, reason, text)
	}
}

// TestWrongInjectionLabel checks that the status names a label with another value, and the command that changes it.
func TestWrongInjectionLabel(t *testing.T) {
	objects := unreconciled()
	objects[0].(*corev1.Namespace).Labels[v1alpha1.InjectionLabel] = "true"
	c := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).WithStatusSubresource(&v1alpha1.SecurityPolicy{}).Build()
	r := newTestReconciler(c, clocktesting.NewFakePassiveClock(created))
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: name}); err != nil {
		t.Fatal(err)
	}
	wantProgrammed(t, c, v1alpha1.ReasonInjectionDisabled, `postern.dev/injection has the value "true", not "enabled"; to enable injection: `+
		`kubectl label namespace shop postern.dev/injection=enabled --overwrite`)
}
