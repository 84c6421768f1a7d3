package overview

import (
	"fmt"
	"slices"
	"strings"
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
	what := "pod"
	if kind == "" {
		what = "SecurityPolicy or pod"
	}
	return Overview{}, fmt.Errorf("there is no %s %q that a policy governs%s", what, bare, o.candidates())
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
