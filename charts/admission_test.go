package charts

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// admitted is a namespace where the chart's admission policies are active, and no webhook.
type admitted struct {
	client.Client
	namespace string
	// developer may change pods, and no policies.
	developer client.Client
}

func newAdmitted(t *testing.T, name string) *admitted {
	t.Helper()
	installCRDs(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user string) client.Client {
		config := rest.CopyConfig(restConfig(t))
		if config.QPS = -1; user != "" {
			config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
		}
		c, err := client.New(config, client.Options{Scheme: scheme})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := &admitted{Client: as(""), developer: as("developer"), namespace: name}
	a.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled}}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "developer"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"pods", "pods/ephemeralcontainers"}, Verbs: []string{"*"},
		}}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "developer"},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "developer"},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "developer"}}})
	a.install(t)
	return a
}

// install creates the admission policies as the chart renders them, and waits until they are active.
func (a *admitted) install(t *testing.T) {
	t.Helper()
	for _, o := range decode(t, run(t, "helm", "template", release, chart)) {
		if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
			a.create(t, o)
			t.Cleanup(func() { _ = a.Delete(context.WithoutCancel(t.Context()), o) })
		}
	}
	canary := selecting(a.namespace, "canary", metav1.LabelSelector{MatchLabels: map[string]string{"canary": "true"}})
	a.create(t, canary)
	guarded := podIn(a.namespace, "canary", true, nil)
	// Until the API server watches the kind of the parameters, it refuses every pod.
	eventually(t, "the parameters are synced", func() bool { return a.Create(t.Context(), guarded) == nil })
	eventually(t, "the admission policies refuse", func() bool {
		bare := podIn(a.namespace, "bare", false, map[string]string{"canary": "true"})
		changed := guarded.DeepCopy()
		changed.Spec.InitContainers[0].Image = "x"
		return apierrors.IsForbidden(a.Create(t.Context(), bare, client.DryRunAll)) && apierrors.IsForbidden(a.Update(t.Context(), changed, client.DryRunAll))
	})
}

func (a *admitted) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		if err := a.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %T %s: %v", o, o.GetName(), err)
		}
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// podIn returns a pod, with containers named like the sidecar's or without.
func podIn(namespace, name string, sidecar bool, labels map[string]string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app:1"}}},
	}
	if sidecar {
		pod.Annotations = map[string]string{"postern.dev/policy": "orders", "postern.dev/injection": "a"}
		pod.Spec.InitContainers = []corev1.Container{
			{Name: "postern-redirect", Image: "postern:1"},
			{Name: "postern", Image: "postern:1", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways), Env: []corev1.EnvVar{{Name: "POSTERN_POLICY", Value: "orders"}}},
			{Name: "setup", Image: "app:1"},
		}
		pod.Spec.Volumes = []corev1.Volume{{Name: "postern-token"}, {Name: "data"}}
	}
	return pod
}

func selecting(namespace, name string, selector metav1.LabelSelector) *v1alpha1.SecurityPolicy {
	return &v1alpha1.SecurityPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.SecurityPolicySpec{Selector: selector},
	}
}

// TestSidecarsOfRunningPods changes running pods in each way that the API server allows.
func TestSidecarsOfRunningPods(t *testing.T) {
	a := newAdmitted(t, "running")
	ephemeral := func(edit func(*corev1.EphemeralContainer)) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			c := corev1.EphemeralContainer{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}}
			edit(&c)
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, c)
		}
	}
	secured := func(s corev1.SecurityContext) func(*corev1.Pod) {
		return ephemeral(func(c *corev1.EphemeralContainer) { c.SecurityContext = &s })
	}
	adding := func(names ...corev1.Capability) func(*corev1.Pod) {
		return secured(corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: names}})
	}
	for name, tc := range map[string]struct {
		shared bool
		edit   func(*corev1.Pod)
		want   string
		// always says that users who may change the policy are refused, too.
		always bool
	}{
		"app's image":           {edit: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "app:2" }},
		"init container":        {edit: func(p *corev1.Pod) { p.Spec.InitContainers[2].Image = "app:2" }},
		"a label":               {edit: func(p *corev1.Pod) { p.Labels = map[string]string{"a": "b"} }},
		"an annotation":         {edit: func(p *corev1.Pod) { p.Annotations["a"] = "b" }},
		"sidecar's image":       {edit: func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "evil" }, want: "images of the sidecar's containers", always: true},
		"redirect's image":      {edit: func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "evil" }, want: "images of the sidecar's containers", always: true},
		"injection annotation":  {edit: func(p *corev1.Pod) { p.Annotations["postern.dev/injection"] = "b" }, want: "annotations postern.dev/policy", always: true},
		"annotation removed":    {edit: func(p *corev1.Pod) { delete(p.Annotations, "postern.dev/policy") }, want: "annotations postern.dev/policy", always: true},
		"kubectl debug":         {edit: ephemeral(func(*corev1.EphemeralContainer) {})},
		"debug the app":         {edit: ephemeral(func(c *corev1.EphemeralContainer) { c.TargetContainerName = "app" })},
		"debug with ptrace":     {edit: adding("SYS_PTRACE")},
		"debug the sidecar":     {edit: ephemeral(func(c *corev1.EphemeralContainer) { c.TargetContainerName = "postern" }), want: "cannot target the sidecar"},
		"debug as its user":     {edit: secured(corev1.SecurityContext{RunAsUser: ptr.To[int64](65532)}), want: "run as its user"},
		"debug privileged":      {edit: secured(corev1.SecurityContext{Privileged: ptr.To(true)}), want: "be privileged"},
		"debug the network":     {edit: adding("NET_RAW", "NET_ADMIN"), want: "NET_ADMIN"},
		"debug with everything": {edit: adding("ALL"), want: "NET_ADMIN"},
		"debug the token": {edit: ephemeral(func(c *corev1.EphemeralContainer) {
			c.VolumeMounts = []corev1.VolumeMount{{Name: "postern-token", MountPath: "/token"}}
		}), want: "cannot mount the sidecar's volumes", always: true},
		"debug the data": {edit: ephemeral(func(c *corev1.EphemeralContainer) {
			c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
		})},
		"debug shared processes":           {shared: true, edit: ephemeral(func(*corev1.EphemeralContainer) {}), want: "shares its process namespace"},
		"debug shared processes as nobody": {shared: true, edit: secured(corev1.SecurityContext{RunAsUser: ptr.To[int64](65534)})},
	} {
		t.Run(name, func(t *testing.T) {
			pod := podIn(a.namespace, "pod-"+strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), "'", ""), true, nil)
			pod.Spec.ShareProcessNamespace = &tc.shared
			a.create(t, pod)
			attempt := func(c client.Client) error {
				changed := pod.DeepCopy()
				tc.edit(changed)
				if len(changed.Spec.EphemeralContainers) > 0 {
					return c.SubResource("ephemeralcontainers").Update(t.Context(), changed, client.DryRunAll)
				}
				return c.Update(t.Context(), changed, client.DryRunAll)
			}
			wantRefused(t, attempt(a.developer), tc.want)
			if tc.always {
				wantRefused(t, attempt(a.Client), tc.want)
			} else if err := attempt(a.Client); err != nil {
				t.Errorf("refused for a user who may change the policy: %v", err)
			}
		})
	}
}

func wantRefused(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// TestBackstop creates pods without sidecars while no webhook exists. A policy refuses exactly those that its selector selects.
func TestBackstop(t *testing.T) {
	a := newAdmitted(t, "backstop")
	requirement := func(key, operator string, values ...string) metav1.LabelSelector {
		return metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: key, Operator: metav1.LabelSelectorOperator(operator), Values: values}}}
	}
	both := requirement("tier", "In", "web", "api")
	both.MatchLabels = map[string]string{"app": "orders"}
	candidates := []map[string]string{
		nil, {"app": "orders"}, {"app": "other"}, {"tier": "web"}, {"app": "orders", "tier": "web"}, {"app": "orders", "tier": "db"}, {"app": "", "tier": "api"},
	}
	for name, selector := range map[string]metav1.LabelSelector{
		"everything": {}, "labels": {MatchLabels: map[string]string{"app": "orders"}}, "labels and expressions": both,
		"in": requirement("tier", "In", "web", "api"), "not in": requirement("tier", "NotIn", "web"), "exists": requirement("tier", "Exists"),
		"does not exist": requirement("tier", "DoesNotExist"), "an empty value": {MatchLabels: map[string]string{"app": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			policy := selecting(a.namespace, "p", selector)
			a.create(t, policy)
			parsed, err := metav1.LabelSelectorAsSelector(&selector)
			if err != nil {
				t.Fatal(err)
			}
			first := candidates[slices.IndexFunc(candidates, func(set map[string]string) bool { return parsed.Matches(labels.Set(set)) })]
			bare := func() error {
				return a.Create(t.Context(), podIn(a.namespace, "bare", false, first), client.DryRunAll)
			}
			eventually(t, "the policy is seen", func() bool { return apierrors.IsForbidden(bare()) })
			for i, set := range candidates {
				want := ""
				if parsed.Matches(labels.Set(set)) {
					want = `policy "p" selects this pod, but the pod has no sidecar`
				}
				wantRefused(t, a.developer.Create(t.Context(), podIn(a.namespace, fmt.Sprintf("bare-%d", i), false, set), client.DryRunAll), want)
				wantRefused(t, a.developer.Create(t.Context(), podIn(a.namespace, fmt.Sprintf("guarded-%d", i), true, set), client.DryRunAll), "")
			}
			once := podIn(a.namespace, "once", true, candidates[4])
			once.Spec.InitContainers[1].RestartPolicy = nil
			if parsed.Matches(labels.Set(candidates[4])) {
				wantRefused(t, a.Create(t.Context(), once, client.DryRunAll), "has no sidecar")
			}
			if err := a.Delete(t.Context(), policy); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the policy is forgotten", func() bool { return bare() == nil })
		})
	}
	t.Run("a policy that is being deleted", func(t *testing.T) {
		policy := selecting(a.namespace, "leaving", metav1.LabelSelector{MatchLabels: map[string]string{"app": "leaving"}})
		policy.Finalizers = []string{"example.com/kept"}
		a.create(t, policy)
		bare := func() error {
			return a.Create(t.Context(), podIn(a.namespace, "bare", false, map[string]string{"app": "leaving"}), client.DryRunAll)
		}
		eventually(t, "the policy is seen", func() bool { return apierrors.IsForbidden(bare()) })
		if err := a.Delete(t.Context(), policy); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the policy does not count any more", func() bool { return bare() == nil })
		if err := a.Patch(t.Context(), policy, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
			t.Error(err)
		}
	})
	t.Run("another namespace", func(t *testing.T) {
		if err := a.Create(t.Context(), podIn("shop", "bare", false, map[string]string{"canary": "true"}), client.DryRunAll); err != nil {
			t.Error(err)
		}
	})
}

// TestBackstopCost evaluates the backstop with as many policies, and as large selectors and labels, as a namespace may have.
func TestBackstopCost(t *testing.T) {
	a := newAdmitted(t, "cost")
	set := map[string]string{"last": "x"}
	selector := metav1.LabelSelector{MatchLabels: map[string]string{}}
	for i := range 100 {
		key := fmt.Sprintf("key-%d.example.com/%s", i, strings.Repeat("k", 60))
		set[key], selector.MatchLabels[key] = strings.Repeat("v", 63), strings.Repeat("v", 63)
		values := []string{set[key]}
		for j := range 50 {
			values = append(values, fmt.Sprintf("value-%d", j))
		}
		selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values})
	}
	for i := range 20 {
		policy := selecting(a.namespace, fmt.Sprintf("p-%d", i), *selector.DeepCopy())
		policy.Spec.Selector.MatchLabels["last"] = "other"
		a.create(t, policy)
	}
	a.create(t, selecting(a.namespace, "last", selector))
	eventually(t, "the last policy is seen", func() bool {
		err := a.Create(t.Context(), podIn(a.namespace, "bare", false, set), client.DryRunAll)
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), `policy "last" selects this pod`)
	})
	if err := a.Create(t.Context(), podIn(a.namespace, "guarded", true, set), client.DryRunAll); err != nil {
		t.Errorf("a guarded pod: %v", err)
	}
	delete(set, "last")
	other := podIn(a.namespace, "other", false, map[string]string{"app": "x"})
	if err := a.Create(t.Context(), other, client.DryRunAll); err != nil {
		t.Errorf("a pod that no policy selects: %v", err)
	}
}

// TestAdmissionPoliciesAreValues checks that each can be switched off, and that both are left out before Kubernetes 1.30.
func TestAdmissionPoliciesAreValues(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want []string
	}{
		"default":     {nil, []string{"postern-sidecars", "postern-backstop"}},
		"no sidecars": {[]string{"--set", "admissionPolicies.sidecars.enabled=false"}, []string{"postern-backstop"}},
		"no backstop": {[]string{"--set", "admissionPolicies.backstop.enabled=false"}, []string{"postern-sidecars"}},
		"1.29":        {[]string{"--kube-version", "1.29.5"}, nil},
		"1.30":        {[]string{"--kube-version", "1.30.0"}, []string{"postern-sidecars", "postern-backstop"}},
		"a vendor's":  {[]string{"--kube-version", "1.30.1-gke.5"}, []string{"postern-sidecars", "postern-backstop"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]int{}
			for _, o := range decode(t, run(t, "helm", append([]string{"template", release, chart}, tc.args...)...)) {
				if strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy") {
					got[o.GetName()]++
					wantExcluded(t, o)
				}
			}
			for _, name := range tc.want {
				if got[name] != 2 {
					t.Errorf("%s has %d objects, want a policy and its binding", name, got[name])
				}
			}
			if len(got) != len(tc.want) {
				t.Errorf("there are %v, want %v", got, tc.want)
			}
		})
	}
}

// wantExcluded checks that a binding selects the namespaces that the webhook selects.
func wantExcluded(t *testing.T, o *unstructured.Unstructured) {
	t.Helper()
	if o.GetKind() != "ValidatingAdmissionPolicyBinding" {
		return
	}
	selector, _, _ := unstructured.NestedMap(o.Object, "spec", "matchResources", "namespaceSelector")
	b, err := json.Marshal(selector)
	if want := `"values":["kube-system","kube-node-lease","kube-public","postern-system"]`; err != nil || !strings.Contains(string(b), want) ||
		!strings.Contains(string(b), `"postern.dev/injection":"enabled"`) {
		t.Errorf("%s selects %s", o.GetName(), b)
	}
}
