package doctor

import (
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
