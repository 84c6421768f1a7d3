//go:build !nocluster

package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/doctor"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/inject"
	"github.com/posterndev/postern/controllers/policy"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// livePolicies lists the policies for each pod.
type livePolicies struct{ reader client.Reader }

func (l livePolicies) Select(ctx context.Context, namespace string, podLabels map[string]string) (*v1alpha1.SecurityPolicy, error) {
	list := &v1alpha1.SecurityPolicyList{}
	if err := l.reader.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	return compile.NewSelection(list.Items).Select(podLabels), nil
}

func (livePolicies) Known(string, map[string]string) *v1alpha1.SecurityPolicy { return nil }

// installWebhook serves the operator's webhook, and tells the API server of it until the test ends. The configuration is as the chart's.
func installWebhook(t *testing.T, handler http.Handler) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	config := &admissionv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: doctor.WebhookName}, Webhooks: []admissionv1.MutatingWebhook{{
		Name: policy.WebhookName, AdmissionReviewVersions: []string{"v1"}, SideEffects: ptr.To(admissionv1.SideEffectClassNone), FailurePolicy: ptr.To(admissionv1.Fail),
		ClientConfig:      admissionv1.WebhookClientConfig{URL: &server.URL, CABundle: ca},
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}},
		Rules: []admissionv1.RuleWithOperations{{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
		}},
	}}}
	c := cluster(t)
	c.create(t, config)
	c.deleteAfter(t, config)
	return config
}

func realWebhook(t *testing.T) http.Handler {
	t.Helper()
	c := cluster(t)
	h, err := inject.NewHandler(inject.Config{
		Policies: livePolicies{c}, Reader: c, Live: c, Scheme: scheme.Scheme, Registerer: prometheus.NewRegistry(),
		Settings: func() render.Settings {
			return render.Settings{Image: "example.com/sidecar:1", OperatorURL: "https://postern-operator.postern-system.svc:9444", OperatorCA: "-----BEGIN CERTIFICATE-----\n", DocumentKey: make([]byte, 32)}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	standalone, err := admission.StandaloneWebhook(&admission.Webhook{Handler: h}, admission.StandaloneOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return standalone
}

// examine runs postern doctor, and returns its findings.
func examine(t *testing.T, args ...string) ([]doctor.Finding, error) {
	t.Helper()
	out, _, err := run(t, "", append([]string{"doctor", "-o", "json"}, args...)...)
	var got struct{ Findings []doctor.Finding }
	if decodeErr := json.Unmarshal([]byte(out), &got); decodeErr != nil {
		t.Fatalf("%v, %v: %s", err, decodeErr, out)
	}
	return got.Findings, err
}

func wantFinding(t *testing.T, findings []doctor.Finding, check string, level doctor.Level, what string) {
	t.Helper()
	for _, f := range findings {
		if f.Check == check && f.Level == level && strings.Contains(f.What, what) {
			return
		}
	}
	t.Errorf("no %s of %s with %q in %+v", level, check, what, findings)
}

// TestDoctor examines a real API server that calls the real webhook.
func TestDoctor(t *testing.T) {
	c, namespace := cluster(t), statusNamespace(t)
	config := installWebhook(t, realWebhook(t))
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "postern-system"}}
	if err := c.Create(t.Context(), system); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	d := testDeployment("postern-system", doctor.OperatorName, 2)
	c.create(t, d)
	c.deleteAfter(t, d)
	d.Status.Replicas, d.Status.ReadyReplicas = 2, 2
	if err := c.Status().Update(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	args := []string{"--kubeconfig", c.admin, "-n", namespace}
	findings, err := examine(t, args...)
	wantExit(t, err, exitNotEnforced) // nobody gave the operator rights
	for check, what := range map[string]string{
		"kubernetes": "runs native sidecars", "clock": "agree", "crds": "3 CRDs are of this version", "operator": "2 of 2 pods ready",
		"dry-run": "gets its sidecar", "certificates": "the CA of the webhook is valid until", "rights": "you have the rights for all commands",
		"labels": "injection enabled", "sidecars": "of version v0.1.0",
	} {
		wantFinding(t, findings, check, doctor.OK, what)
	}
	wantFinding(t, findings, "operator-rights", doctor.Problem, "may not create tokenreviews")
	wantFinding(t, findings, "priority", doctor.Warning, "postern-operator-lease")
	pods := &corev1.PodList{}
	if err := c.List(t.Context(), pods, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != 3 {
		t.Errorf("there are %d pods: the dry run left one", len(pods.Items))
	}

	t.Run("without the webhook's certificate", func(t *testing.T) {
		changed := config.DeepCopy()
		changed.Webhooks[0].ClientConfig.URL = ptr.To("https://127.0.0.1:1/")
		if err := c.Update(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		var findings []doctor.Finding
		waitFor(t, "the API server uses the changed configuration", func() bool {
			findings, err = examine(t, append(args, "--check", "dry-run")...)
			return findings[0].Level == doctor.Problem
		})
		wantExit(t, err, exitNotEnforced)
		wantFinding(t, findings, "dry-run", doctor.Problem, "the API server cannot call the webhook")
	})
	t.Run("as a person with few rights", func(t *testing.T) {
		kubeconfig, err := c.user(t.Context(), "doctor-few", nil, []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods", "namespaces"}, Verbs: []string{"get", "list"}}}, namespace)
		if err != nil {
			t.Fatal(err)
		}
		findings, err := examine(t, "--kubeconfig", kubeconfig, "-n", namespace)
		wantExit(t, err, 0)
		wantFinding(t, findings, "dry-run", doctor.NotChecked, "you may not create pods")
		wantFinding(t, findings, "operator", doctor.NotChecked, "you may not get deployments.apps in namespace postern-system")
		wantFinding(t, findings, "rights", doctor.Warning, "you may not create tokenrevocations.postern.dev, which is needed for postern revoke")
		wantFinding(t, findings, "rights", doctor.NotChecked, "you may not list namespaces, pods in all namespaces")
		wantFinding(t, findings, "sidecars", doctor.OK, "of version v0.1.0")
	})
}

// TestDoctorUnreachable: without an API server there is an error, not a list of unknowns.
func TestDoctorUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &apiServer{url: "http://" + l.Addr().String()}
	l.Close()
	if out, _, err := run(t, "", "doctor", "--kubeconfig", s.kubeconfig(t)); exitCode(err) != exitFailure || out != "" || !strings.Contains(err.Error(), "connecting to the API server") {
		t.Errorf("%v %s", err, out)
	}
}

func TestDoctorFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"is not json": {"-o", "yaml"}, `--check "x" is not one of kubernetes, clock`: {"--check", "x"}, "takes flags only": {"shop"},
	} {
		if _, _, err := run(t, "", append([]string{"doctor"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for want, address := range map[string]string{
		"is not a URL": "redis:6379", "set REDISCLI_AUTH in its place": "redis://u:p@h:1", "needs a URL that begins with rediss": "redis://h:1",
	} {
		if _, _, err := redisOptions(address, map[bool]string{true: "x"}[want[0] == 'n']); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ":p@") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// aclLine returns the rules of the ACL line of docs/state.md for all namespaces.
func aclLine(t *testing.T) []any {
	t.Helper()
	b, err := os.ReadFile("../../docs/state.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rules, ok := strings.CutPrefix(line, "user postern reset "); ok {
			var out []any
			for _, word := range strings.Fields(strings.Replace(rules, "PASSWORD", "us3r", 1)) {
				out = append(out, word)
			}
			return out
		}
	}
	t.Fatal("docs/state.md has no ACL line")
	return nil
}

// TestExamineRedis connects to a real Redis. The user of docs/state.md is found to be right, and each missing or superfluous permission is
// noticed. Nothing is written.
func TestExamineRedis(t *testing.T) {
	s := redistest.Start(t, redistest.Options{Password: "pa55"})
	set := func(rules ...any) {
		s.Do(append([]any{"ACL", "SETUSER", "postern"}, rules...)...)
	}
	set(aclLine(t)...)
	t.Setenv(redisPassword, "us3r")
	look := func() doctor.Redis {
		t.Helper()
		r, err := examineRedis(t.Context(), "redis://postern@"+s.Addr, "", "shop")
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := look(); r.Version == "" || r.Policy != "noeviction" || len(r.Denied) > 0 || r.Wide || r.Address != s.Addr {
		t.Errorf("%+v", r)
	}
	for _, probe := range redisProbes {
		command := probe[0].(string)
		set("-" + command)
		if r := look(); !slices.Equal(r.Denied, []string{command}) {
			t.Errorf("without %s: %v", command, r.Denied)
		}
		set("+" + command)
	}
	set("-info")
	if r := look(); !slices.Equal(r.Denied, []string{"info"}) || r.Version != "" {
		t.Errorf("without info: %+v", r)
	}
	set("+info", "~*")
	if r := look(); !r.Wide {
		t.Error("access to all keys is not noticed")
	}
	if n := s.Do("DBSIZE"); n != int64(0) {
		t.Errorf("%v keys were written", n)
	}
	t.Setenv(redisPassword, "wrong")
	if _, err := examineRedis(t.Context(), "redis://postern@"+s.Addr, "", "shop"); err == nil || !strings.Contains(err.Error(), "connecting to Redis at "+s.Addr) || strings.Contains(err.Error(), "wrong ") {
		t.Error(err)
	}
}

// TestCertificateExpiry reads the end of a server's certificate.
func TestCertificateExpiry(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	got := certificateExpiry(t.Context(), server.Listener.Addr().String())
	if got.Err != nil || !got.Value.Equal(server.Certificate().NotAfter) {
		t.Errorf("%+v", got)
	}
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got := certificateExpiry(ctx, server.Listener.Addr().String()); got.Err == nil {
		t.Error("a closed server has a certificate")
	}
}
