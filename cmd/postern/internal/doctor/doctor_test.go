package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/cmd/postern/internal/screen"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/policy"
	"github.com/posterndev/postern/controllers/render"
)

var now = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

var forbidden = apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "", errors.New("no"))

// healthy returns the facts of an installation without a fault: a labelled namespace shop with a policy, a pod and its sidecar.
func healthy(t *testing.T) *Facts {
	t.Helper()
	want := apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "securitypolicies.postern.dev"}}
	want.Spec.Versions = []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1alpha1", Served: true, Schema: &apiextensionsv1.CustomResourceValidation{
		OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"}}}}
	f := &Facts{
		Now: now, Client: "v0.1.0", OperatorNamespace: "postern-system", Namespace: "shop",
		Kubernetes: Read[string]{Value: "v1.34.1"}, Clock: Read[Clock]{Value: Clock{Sent: now, Received: now, Remote: now}},
		CRDs: Read[[]apiextensionsv1.CustomResourceDefinition]{Value: []apiextensionsv1.CustomResourceDefinition{*want.DeepCopy()}}, WantCRDs: []apiextensionsv1.CustomResourceDefinition{want},
		Operator: Read[*appsv1.Deployment]{Value: operatorDeployment(2, 2)}, Mutating: Read[*admissionv1.MutatingWebhookConfiguration]{Value: webhookConfiguration(t)},
		Validating: Read[*admissionv1.ValidatingWebhookConfiguration]{Value: &admissionv1.ValidatingWebhookConfiguration{}},
		Serving:    Read[time.Time]{Value: now.Add(60 * 24 * time.Hour)}, DryRun: Read[DryRun]{Value: DryRun{Namespace: "shop", Policy: "orders", Injected: true}},
		Rights:         Read[[]Right]{Value: []Right{{Name: "list pods", For: "postern status", Allowed: true}}},
		OperatorRights: Read[[]Right]{Value: []Right{{Name: "create configmaps", Allowed: true}}},
		FlowSchemas:    Read[[]string]{Value: flowSchemas},
	}
	f.Namespaces.Value = []corev1.Namespace{
		{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{v1alpha1.InjectionLabel: "enabled", "kubernetes.io/metadata.name": "shop"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "redis", Labels: map[string]string{"kubernetes.io/metadata.name": "redis"}}},
	}
	p := v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders"}}
	f.Policies.Value = []v1alpha1.SecurityPolicy{p}
	class := v1alpha1.SidecarClass{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}}}
	class.Spec.Redis = &v1alpha1.Redis{Addresses: []string{"redis.redis.svc:6379"}}
	class.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue}}
	f.Classes.Value = []v1alpha1.SidecarClass{class}
	f.Pods.Value = []corev1.Pod{sidecarPod(t, compiled.Report{Hash: "x", SchemaVersion: 1, Version: "v0.1.0"}, time.Minute)}
	f.Services.Value = []corev1.Service{{ObjectMeta: metav1.ObjectMeta{Namespace: "redis", Name: "redis"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "redis"}, Ports: []corev1.ServicePort{{Port: 6379, TargetPort: intstr.FromInt32(7000)}}}}}
	f.Sidecars = []Sidecar{{Namespace: "shop", Pod: "orders-1", Clock: Clock{Sent: now, Received: now, Remote: now}}}
	f.Redis.Value = Redis{Address: "redis:6379", Version: "7.0.15", Policy: "noeviction"}
	return f
}

func operatorDeployment(wanted, ready int32) *appsv1.Deployment {
	d := &appsv1.Deployment{}
	d.Spec.Replicas, d.Status.ReadyReplicas = &wanted, ready
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "operator", Image: "postern/operator:v0.1.0"}}
	return d
}

func webhookConfiguration(t *testing.T) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	return &admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{{
		Name: policy.WebhookName, FailurePolicy: ptr.To(admissionv1.Fail),
		ClientConfig: admissionv1.WebhookClientConfig{CABundle: certificate(t, now.Add(1000*24*time.Hour)), Service: &admissionv1.ServiceReference{Namespace: "postern-system"}},
		Rules: []admissionv1.RuleWithOperations{{Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}},
	}}}
}

func certificate(t *testing.T, ends time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: ends}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func sidecarPod(t *testing.T, r compiled.Report, age time.Duration) corev1.Pod {
	t.Helper()
	message, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "orders-1", Labels: map[string]string{"app": "orders"}},
		Spec:       corev1.PodSpec{InitContainers: []corev1.Container{{Name: render.SidecarName, Env: []corev1.EnvVar{{Name: compiled.EnvPolicy, Value: "orders"}}}}},
		Status: corev1.PodStatus{PodIP: "10.0.0.9", Conditions: []corev1.PodCondition{{
			Type: deliver.ConditionSidecar, Message: string(message), LastProbeTime: metav1.NewTime(now.Add(-age)),
		}}},
	}
}

// TestHealthy: an installation without a fault has only findings OK, and every check gives one.
func TestHealthy(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Examine(healthy(t), nil) {
		seen[f.Check] = true
		if f.Level != OK {
			t.Errorf("%+v", f)
		}
	}
	for _, name := range Names() {
		if !seen[name] {
			t.Errorf("the check %s gives nothing", name)
		}
	}
}

// TestUnread: what cannot be read is neither ok nor a problem, and the missing right is named.
func TestUnread(t *testing.T) {
	f := &Facts{Now: now}
	for _, err := range []*error{
		&f.Kubernetes.Err, &f.Clock.Err, &f.CRDs.Err, &f.Operator.Err, &f.OperatorRights.Err, &f.Mutating.Err, &f.Validating.Err, &f.DryRun.Err, &f.FlowSchemas.Err,
		&f.Rights.Err, &f.Classes.Err, &f.Namespaces.Err, &f.Policies.Err, &f.Pods.Err, &f.NetworkPolicies.Err,
	} {
		*err = forbidden
	}
	f.Sidecars = []Sidecar{{Err: forbidden}}
	named := 0
	for _, found := range Examine(f, nil) {
		if found.Level == OK || found.Level == Warning || found.Level == Problem && found.Check != "kubernetes" {
			t.Errorf("%+v", found)
		}
		if strings.HasPrefix(found.What, "you may not ") {
			named++
		}
	}
	if named < 15 {
		t.Errorf("%d rights are named", named)
	}
}

// TestPartlyUnread: a check is not ok if one of the facts that it needs is unknown.
func TestPartlyUnread(t *testing.T) {
	for name, tt := range map[string]struct {
		err    func(*Facts) *error
		checks []string
	}{
		"classes":     {func(f *Facts) *error { return &f.Classes.Err }, []string{"classes", "pod-security", "mesh", "network-policies", "vault"}},
		"pods":        {func(f *Facts) *error { return &f.Pods.Err }, []string{"mesh", "network-policies", "sidecars", "redis"}},
		"services":    {func(f *Facts) *error { return &f.Services.Err }, []string{"network-policies"}},
		"namespaces":  {func(f *Facts) *error { return &f.Namespaces.Err }, []string{"labels", "pod-security", "mesh", "network-policies"}},
		"policies":    {func(f *Facts) *error { return &f.Policies.Err }, []string{"pod-security", "mesh", "network-policies"}},
		"webhooks":    {func(f *Facts) *error { return &f.Mutating.Err }, []string{"webhook", "certificates"}},
		"certificate": {func(f *Facts) *error { return &f.Serving.Err }, []string{"certificates"}},
	} {
		f := healthy(t)
		*tt.err(f) = forbidden
		for _, check := range tt.checks {
			unknown := false
			for _, found := range Examine(f, []string{check}) {
				unknown = unknown || found.Level == NotChecked
			}
			if !unknown {
				t.Errorf("without %s, %s does not say that something is unknown", name, check)
			}
		}
	}
}

func networkPolicy(namespace string, spec networkingv1.NetworkPolicySpec) networkingv1.NetworkPolicy {
	return networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "np"}, Spec: spec}
}

func port(protocol corev1.Protocol, number int) networkingv1.NetworkPolicyPort {
	return networkingv1.NetworkPolicyPort{Protocol: &protocol, Port: ptr.To(intstr.FromInt(number))}
}

// toOperator and toDNS are the rules that sidecars need.
func toOperator() networkingv1.NetworkPolicyEgressRule {
	return networkingv1.NetworkPolicyEgressRule{
		Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, 9444)},
		To:    []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "postern-system"}}}},
	}
}

func toDNS() networkingv1.NetworkPolicyEgressRule {
	return networkingv1.NetworkPolicyEgressRule{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolUDP, 53)}}
}

func toRedis(number int) networkingv1.NetworkPolicyEgressRule {
	return networkingv1.NetworkPolicyEgressRule{Ports: []networkingv1.NetworkPolicyPort{port(corev1.ProtocolTCP, number)}, To: []networkingv1.NetworkPolicyPeer{{
		NamespaceSelector: &metav1.LabelSelector{}, PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "redis"}},
	}}}
}

func egress(rules ...networkingv1.NetworkPolicyEgressRule) func(*testing.T, *Facts) {
	return func(_ *testing.T, f *Facts) {
		f.NetworkPolicies.Value = []networkingv1.NetworkPolicy{networkPolicy("shop", networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}, Egress: rules,
		})}
	}
}

func TestChecks(t *testing.T) {
	label := func(key, value string) func(*testing.T, *Facts) {
		return func(_ *testing.T, f *Facts) { f.Namespaces.Value[0].Labels[key] = value }
	}
	reporting := func(r compiled.Report) func(*testing.T, *Facts) {
		return func(t *testing.T, f *Facts) {
			r.Hash, r.SchemaVersion = "x", 1
			f.Pods.Value = append(f.Pods.Value, sidecarPod(t, r, time.Minute))
		}
	}
	const enable = "kubectl label namespace shop postern.dev/injection=enabled --overwrite"
	const takeover = `kubectl patch securitypolicy orders -n shop --type merge -p '{"spec":{"interception":"Takeover"}}'`
	tests := map[string]struct {
		check       string
		change      func(*testing.T, *Facts)
		want        Level
		wantWhat    string
		wantCommand string
	}{
		"an old Kubernetes":       {"kubernetes", func(_ *testing.T, f *Facts) { f.Kubernetes.Value = "v1.28.9" }, Problem, "no native sidecars", ""},
		"the first with sidecars": {"kubernetes", func(_ *testing.T, f *Facts) { f.Kubernetes.Value = "v1.29.0-gke.1" }, OK, "", ""},
		"an unreadable version":   {"kubernetes", func(_ *testing.T, f *Facts) { f.Kubernetes.Value = "x" }, NotChecked, "cannot be read", ""},
		"a clock ahead":           {"clock", func(_ *testing.T, f *Facts) { f.Clock.Value.Remote = now.Add(time.Minute) }, Warning, "1m0s ahead of", ""},
		"a clock behind":          {"clock", func(_ *testing.T, f *Facts) { f.Clock.Value.Remote = now.Add(-time.Minute) }, Warning, "59s behind", ""},
		"a slow response": {"clock", func(_ *testing.T, f *Facts) {
			f.Clock.Value.Sent = now.Add(-time.Minute)
			f.Clock.Value.Remote = now.Add(-30 * time.Second)
		}, OK, "", ""},
		"no CRD": {"crds", func(_ *testing.T, f *Facts) { f.CRDs.Value = nil }, Problem, "securitypolicies.postern.dev does not exist", upgrade},
		"another CRD": {"crds", func(_ *testing.T, f *Facts) {
			f.CRDs.Value[0].Spec.Versions[0].Schema.OpenAPIV3Schema.Description = "older"
		}, Warning, "is not that of this version", upgrade},
		"a CRD without the version": {"crds", func(_ *testing.T, f *Facts) { f.CRDs.Value[0].Spec.Versions[0].Served = false }, Problem, "does not serve v1alpha1", upgrade},
		"a CRD that is not established": {"crds", func(_ *testing.T, f *Facts) {
			f.CRDs.Value[0].Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse, Message: "names"}}
		}, Problem, "not established: names", ""},
		"no operator":       {"operator", func(_ *testing.T, f *Facts) { f.Operator.Value = nil }, Problem, "no Deployment postern-operator", upgrade},
		"operator down":     {"operator", func(_ *testing.T, f *Facts) { f.Operator.Value = operatorDeployment(2, 0) }, Problem, "no ready pod", "kubectl logs -n postern-system deployment/postern-operator --tail=50"},
		"operator half":     {"operator", func(_ *testing.T, f *Facts) { f.Operator.Value = operatorDeployment(2, 1) }, Warning, "1 of 2 pods ready", ""},
		"operator scaled":   {"operator", func(_ *testing.T, f *Facts) { f.Operator.Value = operatorDeployment(0, 0) }, Problem, "scaled to 0", "kubectl scale deployment/postern-operator --replicas=2 -n postern-system"},
		"operator alone":    {"operator", func(_ *testing.T, f *Facts) { f.Operator.Value = operatorDeployment(1, 1) }, Warning, "one replica", ""},
		"operator's rights": {"operator-rights", func(_ *testing.T, f *Facts) { f.OperatorRights.Value[0].Allowed = false }, Problem, "may not create configmaps", ""},
		"operator's rights, as it says": {"operator-rights", func(_ *testing.T, f *Facts) {
			f.OperatorRights.Err = forbidden
			f.Policies.Value[0].Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionProgrammed, Reason: v1alpha1.ReasonMissingRights, Message: "may not patch pods/status"}}
		}, Problem, "may not patch pods/status", ""},
		"no webhook":                {"webhook", func(_ *testing.T, f *Facts) { f.Mutating.Value = nil }, Problem, "is missing", upgrade},
		"a webhook that fails open": {"webhook", func(_ *testing.T, f *Facts) { f.Mutating.Value.Webhooks[0].FailurePolicy = ptr.To(admissionv1.Ignore) }, Problem, "failurePolicy Ignore", upgrade},
		"another namespace":         {"webhook", func(_ *testing.T, f *Facts) { f.OperatorNamespace = "x" }, Warning, "in namespace postern-system, not x", ""},
		"no validating webhook":     {"webhook", func(_ *testing.T, f *Facts) { f.Validating.Value = nil }, Warning, "kubectl apply accepts", ""},
		"no CA":                     {"certificates", func(_ *testing.T, f *Facts) { f.Mutating.Value.Webhooks[0].ClientConfig.CABundle = nil }, Problem, "no CA certificate", ""},
		"an expired CA":             {"certificates", func(t *testing.T, f *Facts) { f.Mutating.Value.Webhooks[0].ClientConfig.CABundle = certificate(t, now) }, Problem, "the CA of the webhook expired", ""},
		"two CAs, one expired": {"certificates", func(t *testing.T, f *Facts) {
			c := &f.Mutating.Value.Webhooks[0].ClientConfig
			c.CABundle = append(certificate(t, now), c.CABundle...)
		}, OK, "", ""},
		"a certificate near its end":  {"certificates", func(_ *testing.T, f *Facts) { f.Serving.Value = now.Add(50 * time.Hour) }, Warning, "in 2 days", ""},
		"a certificate not looked at": {"certificates", func(_ *testing.T, f *Facts) { f.Serving.Err = errors.New("no forward") }, NotChecked, "no forward", ""},
		"the webhook does not respond": {"dry-run", func(_ *testing.T, f *Facts) {
			f.DryRun.Value.Refused = `failed calling webhook "pods.postern.dev": timeout`
		}, Problem, "cannot call the webhook", ""},
		"another webhook": {"dry-run", func(_ *testing.T, f *Facts) { f.DryRun.Value.Refused = `failed calling webhook "x": timeout` }, NotChecked, "another reason", ""},
		"the webhook refuses": {"dry-run", func(_ *testing.T, f *Facts) {
			f.DryRun.Value.Refused = `admission webhook "pods.postern.dev" denied the request: postern: no`
		}, Warning, "refuses a pod", ""},
		"not injected":                  {"dry-run", func(_ *testing.T, f *Facts) { f.DryRun.Value.Injected = false }, Problem, "gets no sidecar", "postern status orders -n shop"},
		"no policy to try":              {"dry-run", func(_ *testing.T, f *Facts) { f.DryRun.Value = DryRun{Namespace: "shop"} }, OK, "", ""},
		"no namespace to try":           {"dry-run", func(_ *testing.T, f *Facts) { f.DryRun.Err = errors.New("no namespace") }, NotChecked, "no namespace", ""},
		"no FlowSchema":                 {"priority", func(_ *testing.T, f *Facts) { f.FlowSchemas.Value = flowSchemas[1:] }, Warning, "no FlowSchema postern-operator-lease", ""},
		"a right of the person":         {"rights", func(_ *testing.T, f *Facts) { f.Rights.Value[0].Allowed = false }, Warning, "you may not list pods, which is needed for postern status", ""},
		"one namespace only":            {"rights", func(_ *testing.T, f *Facts) { f.Pods.Narrow = true }, NotChecked, "only namespace shop was looked at", ""},
		"no class":                      {"classes", func(_ *testing.T, f *Facts) { f.Classes.Value = nil }, Problem, "no SidecarClass", ""},
		"no default class":              {"classes", func(_ *testing.T, f *Facts) { f.Classes.Value[0].Annotations = nil }, Warning, "is the default", "kubectl annotate sidecarclass default postern.dev/is-default-class=true"},
		"an invalid class":              {"classes", func(_ *testing.T, f *Facts) { f.Classes.Value[0].Status.Conditions[0].Status = metav1.ConditionFalse }, Problem, "SidecarClass default", "kubectl edit sidecarclass default"},
		"a class that is not processed": {"classes", func(_ *testing.T, f *Facts) { f.Classes.Value[0].Generation = 2 }, Warning, "has not processed", ""},
		"a wrong value":                 {"labels", label(v1alpha1.InjectionLabel, "true"), Warning, "has the label postern.dev/injection=true", enable},
		"a deliberate value":            {"labels", func(_ *testing.T, f *Facts) { f.Namespaces.Value[1].Labels[v1alpha1.InjectionLabel] = "disabled" }, OK, "", ""},
		"a typo":                        {"labels", func(_ *testing.T, f *Facts) { f.Namespaces.Value[1].Labels["postern.dev/injecton"] = "enabled" }, Warning, "which Postern does not know", strings.Replace(enable, "shop", "redis", 1)},
		"another domain":                {"labels", func(_ *testing.T, f *Facts) { f.Namespaces.Value[1].Labels["postern-injection"] = "enabled" }, Warning, "which Postern does not know", strings.Replace(enable, "shop", "redis", 1)},
		"no label at all":               {"labels", func(_ *testing.T, f *Facts) { delete(f.Namespaces.Value[0].Labels, v1alpha1.InjectionLabel) }, Warning, "no pod gets a sidecar", ""},
		"Pod Security":                  {"pod-security", label(enforceLabel, "restricted"), Problem, "level restricted", takeover},
		"Pod Security, privileged":      {"pod-security", label(enforceLabel, "privileged"), OK, "", ""},
		"Pod Security, Takeover": {"pod-security", func(_ *testing.T, f *Facts) {
			f.Namespaces.Value[0].Labels[enforceLabel] = "restricted"
			f.Classes.Value[0].Spec.Interception = v1alpha1.InterceptTakeover
		}, OK, "", ""},
		"Istio":         {"mesh", label("istio-injection", "enabled"), Problem, "mesh of Istio, and policy orders", takeover},
		"Istio ambient": {"mesh", label("istio.io/dataplane-mode", "ambient"), Problem, "mesh of Istio ambient", takeover},
		"Linkerd": {"mesh", func(_ *testing.T, f *Facts) {
			f.Namespaces.Value[0].Annotations = map[string]string{"linkerd.io/inject": "enabled"}
		}, Problem, "mesh of Linkerd", takeover},
		"a meshed pod": {"mesh", func(_ *testing.T, f *Facts) {
			f.Pods.Value[0].Annotations = map[string]string{"sidecar.istio.io/status": "{}"}
		}, Problem, "mesh of Istio", takeover},
		"Istio, Takeover, no trusted proxy": {"mesh", func(_ *testing.T, f *Facts) {
			f.Namespaces.Value[0].Labels["istio.io/rev"] = "1"
			f.Policies.Value[0].Spec.Interception = v1alpha1.InterceptTakeover
		}, Warning, "does not trust Istio's proxy", "kubectl edit sidecarclass default"},
		"Istio, as it should be": {"mesh", func(_ *testing.T, f *Facts) {
			f.Namespaces.Value[0].Labels["istio-injection"] = "enabled"
			f.Policies.Value[0].Spec.Interception = v1alpha1.InterceptTakeover
			f.Classes.Value[0].Spec.TrustedProxies = []string{envoyAddress}
		}, OK, "", ""},
		"egress denied":              {"network-policies", egress(), Problem, "reach the operator (port 9444)", "kubectl describe networkpolicy -n shop"},
		"egress to all":              {"network-policies", egress(networkingv1.NetworkPolicyEgressRule{}), OK, "", ""},
		"egress without DNS":         {"network-policies", egress(toOperator(), toRedis(7000)), Problem, "reach DNS (port 53)", ""},
		"egress without Redis":       {"network-policies", egress(toOperator(), toDNS()), Problem, "reach Redis (redis.redis.svc:6379)", ""},
		"the port of the Service":    {"network-policies", egress(toOperator(), toDNS(), toRedis(6379)), Problem, "reach Redis", ""}, // rules apply to the pod's port
		"egress to all three":        {"network-policies", egress(toOperator(), toDNS(), toRedis(7000)), OK, "", ""},
		"egress to another operator": {"network-policies", egress(networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}}, toDNS(), toRedis(7000)), Problem, "reach the operator", ""},
		"egress of other pods": {"network-policies", func(t *testing.T, f *Facts) {
			egress()(t, f)
			f.NetworkPolicies.Value[0].Spec.PodSelector.MatchLabels = map[string]string{"app": "x"}
		}, OK, "", ""},
		"a Redis outside": {"network-policies", func(t *testing.T, f *Facts) {
			f.Classes.Value[0].Spec.Redis.Addresses = []string{"192.0.2.7:6379"}
			egress(toOperator(), toDNS(), networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24", Except: []string{"192.0.2.7/32"}}}}})(t, f)
		}, Problem, "reach Redis (192.0.2.7:6379)", ""},
		"a Redis outside, allowed": {"network-policies", func(t *testing.T, f *Facts) {
			f.Classes.Value[0].Spec.Redis.Addresses = []string{"192.0.2.7:6379"}
			egress(toOperator(), toDNS(), networkingv1.NetworkPolicyEgressRule{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}}}})(t, f)
		}, OK, "", ""},
		"the operator's ingress": {"network-policies", func(_ *testing.T, f *Facts) {
			f.NetworkPolicies.Value = []networkingv1.NetworkPolicy{networkPolicy("postern-system", networkingv1.NetworkPolicySpec{
				Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}}},
			})}
		}, Problem, "reach the operator's port 9444", "kubectl describe networkpolicy -n postern-system"},
		"the chart's ingress": {"network-policies", func(_ *testing.T, f *Facts) {
			f.NetworkPolicies.Value = []networkingv1.NetworkPolicy{networkPolicy("postern-system", networkingv1.NetworkPolicySpec{
				Ingress: []networkingv1.NetworkPolicyIngressRule{{
					Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromString("deliver"))}}, From: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}},
				}},
			})}
		}, OK, "", ""},
		"no sidecar": {"sidecars", func(_ *testing.T, f *Facts) { f.Pods.Value = nil }, OK, "", ""},
		"a pod that nothing guards": {"sidecars", func(_ *testing.T, f *Facts) {
			p := &f.Policies.Value[0]
			f.Pods.Value = append(f.Pods.Value, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: "old", Labels: p.Spec.Selector.MatchLabels}})
		}, Problem, "1 pod has no sidecar, so nothing guards what a policy selects, for example shop/old", "postern status -A"},
		"a silent sidecar": {"sidecars", func(t *testing.T, f *Facts) {
			f.Pods.Value = append(f.Pods.Value, sidecarPod(t, compiled.Report{SchemaVersion: 1}, time.Hour))
		}, Warning, "1 of 2 sidecars have not reported", "postern status -A"},
		"silent sidecars": {"sidecars", func(t *testing.T, f *Facts) {
			f.Pods.Value = []corev1.Pod{sidecarPod(t, compiled.Report{SchemaVersion: 1}, time.Hour)}
		}, Problem, "none of 1 sidecar", ""},
		"two versions":     {"sidecars", reporting(compiled.Report{Version: "v0.0.9"}), Warning, "v0.0.9 (1), v0.1.0 (1)", ""},
		"a pod's clock":    {"pod-clocks", func(_ *testing.T, f *Facts) { f.Sidecars[0].Clock.Remote = now.Add(time.Hour) }, Warning, "the clock of pod shop/orders-1 is at least 1h0m0s ahead", ""},
		"no sidecar asked": {"pod-clocks", func(_ *testing.T, f *Facts) { f.Sidecars[0].Err = forbidden }, NotChecked, "pods/proxy", ""},
		"no Redis at all":  {"redis", func(_ *testing.T, f *Facts) { f.Classes.Value[0].Spec.Redis = nil }, Warning, "no SidecarClass names a Redis", ""},
		"Redis is away":    {"redis", reporting(compiled.Report{Problems: []compiled.Problem{{Kind: compiled.ProblemRedis, Reason: "RedisUnavailable", Message: "timeout"}}}), Problem, "1 of 2 sidecars report RedisUnavailable", ""},
		"Redis evicts":     {"redis", func(_ *testing.T, f *Facts) { f.Sidecars[0].Values = map[string]float64{"postern_state_evicts": 1} }, Problem, "may evict", "redis-cli CONFIG SET maxmemory-policy noeviction"},
		"Redis not named":  {"redis", func(_ *testing.T, f *Facts) { f.Redis.Value = Redis{} }, NotChecked, "the version of Redis and the ACL", ""},
		"Redis not there":  {"redis", func(_ *testing.T, f *Facts) { f.Redis.Err = errors.New("connecting to Redis") }, Problem, "connecting to Redis", ""},
		"an old Redis":     {"redis", func(_ *testing.T, f *Facts) { f.Redis.Value.Version = "5.0.14" }, Problem, "no ACL users", ""},
		"an evicting one":  {"redis", func(_ *testing.T, f *Facts) { f.Redis.Value.Policy = "allkeys-lru" }, Problem, "maxmemory-policy allkeys-lru", ""},
		"a narrow ACL":     {"redis", func(_ *testing.T, f *Facts) { f.Redis.Value.Denied = []string{"evalsha"} }, Problem, "may not run evalsha", ""},
		"a wide ACL":       {"redis", func(_ *testing.T, f *Facts) { f.Redis.Value.Wide = true }, Warning, "keys that are not Postern's", ""},
		"Vault": {"vault", func(t *testing.T, f *Facts) {
			f.Classes.Value[0].Spec.Vault = &v1alpha1.Vault{}
			reporting(compiled.Report{Problems: []compiled.Problem{{Kind: compiled.ProblemVault, Reason: "WrongRole", Message: "role x"}}})(t, f)
		}, Problem, "WrongRole for Vault, for example shop/orders-1: role x", "kubectl logs orders-1 -c postern -n shop --tail=20"},
		"Vault's role": {"vault", func(_ *testing.T, f *Facts) { f.Classes.Value[0].Spec.Vault = &v1alpha1.Vault{} }, NotChecked, "only a pod's service account", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := healthy(t)
			tt.change(t, f)
			findings := Examine(f, []string{tt.check})
			if tt.want == OK && Worst(findings) == OK {
				return
			}
			for _, found := range findings {
				if found.Level == tt.want && strings.Contains(found.What, tt.wantWhat) && (tt.wantCommand == "" || strings.Contains(strings.Join(found.Commands, "\n"), tt.wantCommand)) {
					return
				}
			}
			t.Errorf("%+v\nwant %s %q %q", findings, tt.want, tt.wantWhat, tt.wantCommand)
		})
	}
}

// TestTextEscapes: what the cluster says cannot control the terminal.
func TestTextEscapes(t *testing.T) {
	got := Text([]Finding{{Check: "x", Level: Problem, What: "a\x1b[2J\nb", Do: "\x9b", Commands: []string{"\a"}}}, screen.Style{Width: 80})
	if want := "PROBLEM  x  a\\x1b[2J\\nb\n            → \uFFFD\n            $ \\a\n\n1 problem, 0 warnings, 0 ok, 0 unknown\n"; got != want {
		t.Errorf("%q", got)
	}
}
