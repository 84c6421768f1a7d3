package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/inject"
)

func classes(f *Facts) []Finding {
	if f.Classes.Err != nil {
		return unread(f.Classes.Err, "list sidecarclasses.postern.dev")
	}
	if len(f.Classes.Value) == 0 {
		return []Finding{problem("install the chart with defaultClass.create=true, or apply one like config/samples/sidecarclass.yaml", "there is no SidecarClass: no policy can be used")}
	}
	var out []Finding
	if _, err := compile.ResolveClass(&v1alpha1.SecurityPolicy{}, f.Classes.Value); errors.Is(err, compile.ErrClassNotFound) {
		out = append(out, warning("", "no SidecarClass is the default: every policy must name one").with(
			fmt.Sprintf("kubectl annotate sidecarclass %s %s=true", f.Classes.Value[0].Name, v1alpha1.DefaultClassAnnotation)))
	}
	for i := range f.Classes.Value {
		c := &f.Classes.Value[i]
		accepted := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionAccepted)
		switch {
		case accepted == nil || c.Status.ObservedGeneration != c.Generation:
			out = append(out, warning("if this persists, look at the operator's log", "the operator has not processed SidecarClass %s as it is now", c.Name))
		case accepted.Status != metav1.ConditionTrue:
			out = append(out, problem("", "SidecarClass %s: %s: %s", c.Name, accepted.Reason, accepted.Message).with("kubectl edit sidecarclass "+c.Name))
		}
	}
	if len(out) == 0 {
		return fine("%s, and a default", plural(len(f.Classes.Value), "SidecarClass is valid", "SidecarClasses are valid"))
	}
	return out
}

// labels looks for namespaces whose label for injection is misspelt.
func labels(f *Facts) []Finding {
	if f.Namespaces.Err != nil {
		return unread(f.Namespaces.Err, "list namespaces")
	}
	var out []Finding
	enabled := 0
	for i := range f.Namespaces.Value {
		n := &f.Namespaces.Value[i]
		set := fmt.Sprintf("kubectl label namespace %s %s=%s --overwrite", n.Name, v1alpha1.InjectionLabel, v1alpha1.InjectionLabelEnabled)
		value, ok := n.Labels[v1alpha1.InjectionLabel]
		switch {
		case value == v1alpha1.InjectionLabelEnabled:
			enabled++
			continue
		case ok && value != "disabled":
			out = append(out, warning("", "namespace %s has the label %s=%s, which has no effect: the value is not %q", n.Name, v1alpha1.InjectionLabel, value, v1alpha1.InjectionLabelEnabled).with(set))
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
			if key != v1alpha1.InjectionLabel && misspelt(key) {
				out = append(out, warning("", "namespace %s has the label %s, which Postern does not know; the label is %s", n.Name, key, v1alpha1.InjectionLabel).with(set))
			}
		}
	}
	if enabled == 0 {
		out = append(out, warning("", "no namespace has the label %s=%s: no pod gets a sidecar", v1alpha1.InjectionLabel, v1alpha1.InjectionLabelEnabled).with(
			fmt.Sprintf("kubectl label namespace NAME %s=%s", v1alpha1.InjectionLabel, v1alpha1.InjectionLabelEnabled)))
	}
	if len(out) == 0 {
		return fine("%s injection enabled", plural(enabled, "namespace has", "namespaces have"))
	}
	return out
}

// misspelt reports whether the key is meant to be the label for injection.
func misspelt(key string) bool {
	return distance(strings.ToLower(key), v1alpha1.InjectionLabel) <= 3 ||
		strings.Contains(strings.ToLower(key), "postern") && strings.Contains(strings.ToLower(key), "inject")
}

// distance returns the number of characters that must be inserted, deleted or replaced to get b from a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// enforceLabel holds the Pod Security level that the API server enforces.
const enforceLabel = "pod-security.kubernetes.io/enforce"

func podSecurity(f *Facts) []Finding {
	if f.Namespaces.Err != nil {
		return unread(f.Namespaces.Err, "list namespaces")
	}
	if f.Policies.Err != nil {
		return unread(f.Policies.Err, "list securitypolicies.postern.dev")
	}
	out := f.interceptionUnknown()
	for i := range f.Namespaces.Value {
		n := &f.Namespaces.Value[i]
		level := n.Labels[enforceLabel]
		if level == "" || level == "privileged" {
			continue
		}
		for _, p := range f.redirecting(n.Name) {
			out = append(out, problem("use interception Takeover, with the app listening on 127.0.0.1",
				"namespace %s enforces Pod Security level %s, which does not allow interception Redirect of policy %s: its pods are refused", n.Name, level, p).with(takeover(n.Name, p)))
		}
	}
	if len(out) == 0 {
		return fine("no level of Pod Security forbids the interception of a policy")
	}
	return out
}

// interceptionUnknown is a finding if classes cannot be read: a policy that does not say its interception has that of its class.
func (f *Facts) interceptionUnknown() []Finding {
	if f.Classes.Err == nil {
		return nil
	}
	return []Finding{{Level: NotChecked, What: "policies whose interception is that of their SidecarClass: you may not list sidecarclasses.postern.dev"}}
}

func takeover(namespace, policy string) string {
	return fmt.Sprintf(`kubectl patch securitypolicy %s -n %s --type merge -p '{"spec":{"interception":"Takeover"}}'`, policy, namespace)
}

// redirecting returns the policies of a namespace with interception Redirect. A policy without a class is another check's matter.
func (f *Facts) redirecting(namespace string) []string {
	var out []string
	for i := range f.Policies.Value {
		p := &f.Policies.Value[i]
		if p.Namespace != namespace {
			continue
		}
		class, err := compile.ResolveClass(p, f.Classes.Value)
		if err != nil {
			class = &v1alpha1.SidecarClass{}
		}
		if (err == nil || p.Spec.Interception != "") && compile.Interception(p, class) == v1alpha1.InterceptRedirect {
			out = append(out, p.Name)
		}
	}
	return out
}

func mesh(f *Facts) []Finding {
	if f.Namespaces.Err != nil || f.Policies.Err != nil {
		return unread(cmp.Or(f.Namespaces.Err, f.Policies.Err), "list namespaces and securitypolicies.postern.dev")
	}
	out := f.interceptionUnknown()
	if f.Pods.Err != nil {
		out = append(out, Finding{Level: NotChecked, What: "whether pods are in a mesh that their namespace does not name: you may not list pods"})
	}
	meshed := 0
	for i := range f.Namespaces.Value {
		n := &f.Namespaces.Value[i]
		names := meshesOfNamespace(n)
		for _, pod := range f.podsIn(n.Name) {
			for _, name := range inject.Meshes(pod, n.Labels) {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
		if len(names) == 0 || !f.hasPolicy(n.Name) {
			continue
		}
		meshed++
		for _, p := range f.redirecting(n.Name) {
			out = append(out, problem("use interception Takeover, with the app listening on 127.0.0.1, or leave the pods out of the mesh; see docs/meshes.md",
				"namespace %s is in the mesh of %s, and policy %s has interception Redirect: its pods are refused", n.Name, strings.Join(names, " and "), p).with(takeover(n.Name, p)))
		}
		if slices.Contains(names, "Istio") {
			out = append(out, f.envoyTrusted(n.Name)...)
		}
	}
	if len(out) > 0 {
		return out
	}
	if meshed == 0 {
		return fine("no namespace with a policy is in a mesh")
	}
	return fine("%s in a mesh, with interception Takeover", plural(meshed, "namespace with policies is", "namespaces with policies are"))
}

// envoyAddress is from where Istio's proxy in the pod connects to the app.
const envoyAddress = "127.0.0.6/32"

// envoyTrusted warns about classes that do not trust Istio's proxy, so that all clients have its address.
func (f *Facts) envoyTrusted(namespace string) []Finding {
	var out []Finding
	seen := map[string]bool{}
	for i := range f.Policies.Value {
		p := &f.Policies.Value[i]
		class, err := compile.ResolveClass(p, f.Classes.Value)
		if p.Namespace != namespace || err != nil || seen[class.Name] || slices.Contains(class.Spec.TrustedProxies, envoyAddress) {
			continue
		}
		seen[class.Name] = true
		out = append(out, warning("add "+envoyAddress+" to spec.trustedProxies; docs/meshes.md says what that allows",
			"SidecarClass %s, used in namespace %s, does not trust Istio's proxy: all clients count as 127.0.0.6", class.Name, namespace).with("kubectl edit sidecarclass "+class.Name))
	}
	return out
}

// meshesOfNamespace returns the meshes whose webhook injects into the namespace's pods, or that redirect them.
func meshesOfNamespace(n *corev1.Namespace) []string {
	var out []string
	if n.Labels["istio-injection"] == "enabled" || n.Labels["istio.io/rev"] != "" {
		out = append(out, "Istio")
	}
	if n.Labels["istio.io/dataplane-mode"] == "ambient" {
		out = append(out, "Istio ambient")
	}
	if v := n.Annotations["linkerd.io/inject"]; v == "enabled" || v == "ingress" {
		out = append(out, "Linkerd")
	}
	return out
}

func (f *Facts) hasPolicy(namespace string) bool {
	return slices.ContainsFunc(f.Policies.Value, func(p v1alpha1.SecurityPolicy) bool { return p.Namespace == namespace })
}

func (f *Facts) podsIn(namespace string) []*corev1.Pod {
	var out []*corev1.Pod
	for i := range f.Pods.Value {
		if f.Pods.Value[i].Namespace == namespace {
			out = append(out, &f.Pods.Value[i])
		}
	}
	return out
}
