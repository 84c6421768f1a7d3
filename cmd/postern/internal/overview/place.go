package overview

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/status"
)

// place is a namespace with its objects.
type place struct {
	*Input
	Namespace
	policies  []*v1alpha1.SecurityPolicy
	selection *compile.Selection
	// pods are the active ones. governed are those of each policy, by its name, and free are those of none.
	governed map[string][]*corev1.Pod
	free     []*corev1.Pod
	// matched are the pods that the policy's selector matches and an older policy governs, by the policy's name.
	matched map[string][]*corev1.Pod
}

// split returns the namespaces in their order, and those of policies that are not in the input.
func (in *Input) split() []*place {
	byName := map[string]*place{}
	var places []*place
	at := func(name string) *place {
		if byName[name] == nil {
			byName[name] = &place{Input: in, Namespace: Namespace{Name: name}, governed: map[string][]*corev1.Pod{}, matched: map[string][]*corev1.Pod{}}
			places = append(places, byName[name])
		}
		return byName[name]
	}
	for _, n := range in.Namespaces {
		at(n.Name).Namespace = n
	}
	for i := range in.Policies {
		p := at(in.Policies[i].Namespace)
		p.policies = append(p.policies, &in.Policies[i])
	}
	for _, p := range places {
		var own []v1alpha1.SecurityPolicy
		for _, policy := range p.policies {
			own = append(own, *policy)
		}
		p.selection = compile.NewSelection(own)
	}
	for i := range in.Pods {
		pod := &in.Pods[i]
		if p := byName[pod.Namespace]; p != nil && !status.Inactive(pod) {
			p.add(pod)
		}
	}
	slices.SortStableFunc(places, func(a, b *place) int { return cmp.Compare(a.Name, b.Name) })
	return places
}

func (p *place) add(pod *corev1.Pod) {
	all := p.selection.All(pod.Labels)
	if len(all) == 0 {
		p.free = append(p.free, pod)
		return
	}
	p.governed[all[0].Name] = append(p.governed[all[0].Name], pod)
	for _, younger := range all[1:] {
		p.matched[younger.Name] = append(p.matched[younger.Name], pod)
	}
}

// enabled says that the namespace has the label for injection. It is true if the labels are not known.
func (p *place) enabled() bool {
	return !p.Known || p.Labels[v1alpha1.InjectionLabel] == v1alpha1.InjectionLabelEnabled
}

// unguarded returns the pods that no policy selects, by workload.
func (p *place) unguarded() []Group {
	if len(p.policies) == 0 && (!p.Known || p.Labels[v1alpha1.InjectionLabel] == "") {
		return nil
	}
	return groups(p.Name, p.free, func(*corev1.Pod) bool { return false })
}

// groups counts the pods by workload. A pod without one is a group of its own.
func groups(namespace string, pods []*corev1.Pod, current func(*corev1.Pod) bool) []Group {
	var out []Group
	for _, pod := range pods {
		name := ownerName(pod)
		i := slices.IndexFunc(out, func(g Group) bool { return g.Name == name })
		if i < 0 {
			i, out = len(out), append(out, Group{Namespace: namespace, Name: name})
		}
		out[i].Pods++
		if current(pod) {
			out[i].Current++
		}
	}
	slices.SortFunc(out, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ownerName names the workload of the pod, or the pod if it has none.
func ownerName(pod *corev1.Pod) string {
	if w := status.WorkloadOf(pod); w.Name != "" {
		return w.String()
	}
	return "pod/" + pod.Name
}

// problems returns what is wrong with the namespace itself. A policy in a namespace without the label has its own problem.
func (p *place) problems() []Problem {
	value, labelled := p.Labels[v1alpha1.InjectionLabel]
	switch {
	case !labelled || len(p.policies) > 0:
		return nil
	case value != v1alpha1.InjectionLabelEnabled:
		return []Problem{{
			Severity: Warning, Reason: v1alpha1.ReasonInjectionDisabled,
			What:     fmt.Sprintf("namespace %s has the label %s=%s, which has no effect: the value is not %q", p.Name, v1alpha1.InjectionLabel, value, v1alpha1.InjectionLabelEnabled),
			Commands: []string{p.label()},
		}}
	}
	return []Problem{{
		Severity: Warning, Reason: "NoPolicy", What: fmt.Sprintf("namespace %s has injection enabled, and no SecurityPolicy: none of its pods is guarded", p.Name),
		Do: "apply a SecurityPolicy in the namespace",
	}}
}

// label returns the command that labels the namespace.
func (p *place) label() string {
	command := fmt.Sprintf("kubectl label namespace %s %s=%s", p.Name, v1alpha1.InjectionLabel, v1alpha1.InjectionLabelEnabled)
	if p.Labels[v1alpha1.InjectionLabel] != "" {
		command += " --overwrite"
	}
	return command
}
