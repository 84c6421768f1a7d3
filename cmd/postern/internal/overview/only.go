package overview

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Only returns the part about one policy, or about one pod and the policy that governs it. The name may have a kind, as policy/orders or
// pod/orders-7d8f9c-abcde; without one, a policy comes first.
func (o Overview) Only(name string) (Overview, error) {
	kind, bare, ok := strings.Cut(name, "/")
	if !ok {
		kind, bare = "", name
	}
	switch kind {
	case "", "policy", "policies", "secpol", "securitypolicy", "securitypolicies", "securitypolicy.postern.dev", "securitypolicies.postern.dev":
		if part, ok := o.onlyPolicy(bare); ok {
			return part, nil
		}
		if kind != "" {
			return Overview{}, fmt.Errorf("there is no SecurityPolicy %q%s", bare, o.candidates())
		}
	case "pod", "pods", "po":
	default:
		return Overview{}, fmt.Errorf("%q is not a policy or a pod: write its name, or policy/NAME or pod/NAME", name)
	}
	if part, ok := o.onlyPod(bare); ok {
		return part, nil
	}
	if i := slices.IndexFunc(o.free, func(pod *corev1.Pod) bool { return pod.Name == bare }); i >= 0 {
		return Overview{Policies: []Policy{}, Unread: o.Unread, Problems: []Problem{unselected(o.free[i])}}, nil
	}
	what := "pod"
	if kind == "" {
		what = "SecurityPolicy or pod"
	}
	return Overview{}, fmt.Errorf("there is no running %s %q%s", what, bare, o.candidates())
}

func (o Overview) onlyPolicy(name string) (Overview, bool) {
	i := slices.IndexFunc(o.Policies, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return Overview{}, false
	}
	p := o.Policies[i]
	return Overview{Policies: []Policy{p}, Enforced: p.State.fine(), Unread: o.Unread}, true
}

// onlyPod returns the pod and its policy, with the problems of that policy: those of other pods may be the cause too.
func (o Overview) onlyPod(name string) (Overview, bool) {
	for _, p := range o.Policies {
		i := slices.IndexFunc(p.Pods, func(pod Pod) bool { return pod.Name == name })
		if i < 0 {
			continue
		}
		p.Pods = []Pod{p.Pods[i]}
		return Overview{Policies: []Policy{p}, Enforced: p.Pods[0].State == Enforced, Unread: o.Unread}, true
	}
	return Overview{}, false
}

// unselected is the problem of a pod that no policy selects.
func unselected(pod *corev1.Pod) Problem {
	return Problem{
		Severity: Error, Reason: "NoPolicy",
		What:     fmt.Sprintf("no SecurityPolicy selects the pod %s (%s)", pod.Name, cmp.Or(labels.FormatLabels(pod.Labels), "without labels")),
		Do:       "change the selector of a policy, or apply one for the pod:",
		Commands: []string{fmt.Sprintf("kubectl get securitypolicies -n %s -o custom-columns=NAME:.metadata.name,SELECTOR:.spec.selector", pod.Namespace)},
	}
}

// candidates names the policies, as the end of a sentence.
func (o Overview) candidates() string {
	var names []string
	for i := range o.Policies {
		names = append(names, o.Policies[i].Name)
	}
	if len(names) == 0 {
		return "; the namespace has no policy"
	}
	slices.Sort(names)
	return "; the policies are " + list(names)
}

// WithoutReportTimes returns the overview without the times of the pods' last reports, which change every few minutes.
func (o Overview) WithoutReportTimes() Overview {
	o.Policies = slices.Clone(o.Policies)
	for i := range o.Policies {
		o.Policies[i].Pods = slices.Clone(o.Policies[i].Pods)
		for j := range o.Policies[i].Pods {
			o.Policies[i].Pods[j].Reported = nil
		}
	}
	return o
}
