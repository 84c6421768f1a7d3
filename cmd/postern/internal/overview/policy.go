package overview

import (
	"cmp"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// policy returns the result for a policy of the namespace.
func (p *place) policy(policy *v1alpha1.SecurityPolicy) Policy {
	s := &subject{SecurityPolicy: policy, current: policy.Status.ObservedGeneration == policy.Generation}
	out := Policy{
		Namespace: p.Name, Name: policy.Name, Guards: sections(&policy.Spec), Mode: string(cmp.Or(policy.Spec.Mode, v1alpha1.ModeEnforce)),
		Selector: selectorText(policy), Revision: policy.Status.Revision, Document: policy.Status.Document,
	}
	missing := p.resolveClass(s, &out)
	var judged []judgement
	for _, pod := range p.governed[policy.Name] {
		judged = append(judged, p.judge(s, pod))
	}
	slices.SortFunc(judged, func(a, b judgement) int { return cmp.Compare(a.Name, b.Name) })
	p.count(s, &out, judged)
	out.Problems = slices.Concat(p.ownProblems(s, missing), p.podProblems(s, judged))
	p.settle(s, &out)
	out.Problems = append(out.Problems, p.otherProblems(s, &out, judged)...)
	return out
}

// resolveClass sets the class. The error says which class does not exist.
func (p *place) resolveClass(s *subject, out *Policy) error {
	if name := s.Spec.SidecarClassName; name != nil {
		out.Class = *name
	}
	out.Interception = string(s.Spec.Interception)
	if !p.ClassesKnown {
		return nil
	}
	class, err := compile.ResolveClass(s.SecurityPolicy, p.Classes)
	if errors.Is(err, compile.ErrClassNotFound) {
		return err
	}
	s.class = class
	out.Class, out.Interception = class.Name, string(compile.Interception(s.SecurityPolicy, class))
	return nil
}

// count sets the numbers of pods. What the operator counted is used if the person may not read pods.
func (p *place) count(s *subject, out *Policy, judged []judgement) {
	if counts := s.Status.Pods; counts != nil {
		out.Refused = int(counts.Refused)
		if !p.PodsKnown {
			out.Matched, out.Current = int(counts.Matched), int(counts.Current)
		}
	}
	if !p.PodsKnown {
		return
	}
	good := map[string]bool{}
	var pods []*corev1.Pod
	for i := range judged {
		j := &judged[i]
		out.Pods, pods = append(out.Pods, j.Pod), append(pods, j.pod)
		if j.Reason == "" {
			good[j.Name] = true
			out.Current++
		}
	}
	out.Matched = len(judged)
	out.Workloads = groups("", pods, func(pod *corev1.Pod) bool { return good[pod.Name] })
}

// settle sets the policy's state and its reason, from the problems found so far and the condition Enforced.
func (p *place) settle(s *subject, out *Policy) {
	c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionEnforced)
	i := slices.IndexFunc(out.Problems, func(problem Problem) bool { return problem.Severity == Error })
	switch {
	case i >= 0:
		out.State, out.Reason = NotEnforced, out.Problems[i].Reason
		out.Since = since(s, out.Reason)
	case c == nil || !s.current:
		out.State, out.Reason = Unknown, v1alpha1.ReasonPending
		out.Problems = append(out.Problems, notSeen(s))
	case s.Spec.Mode == v1alpha1.ModeShadow:
		out.State, out.Reason, out.Since = Shadow, v1alpha1.ReasonShadow, since(s, v1alpha1.ReasonShadow)
		out.Problems = append(out.Problems, shadowed(s))
	case p.PodsKnown && out.Matched == 0 || c.Reason == v1alpha1.ReasonNoPods && !p.PodsKnown:
		out.State, out.Reason, out.Since = NoPods, v1alpha1.ReasonNoPods, since(s, v1alpha1.ReasonNoPods)
		out.Problems = append(out.Problems, p.noPods(s))
	case c.Status == metav1.ConditionTrue:
		out.State, out.Reason, out.Since = Enforced, c.Reason, timeOf(c.LastTransitionTime)
	case c.Status == metav1.ConditionFalse:
		out.State, out.Reason, out.Since = NotEnforced, c.Reason, timeOf(c.LastTransitionTime)
		out.Problems = append(out.Problems, said(s, c))
	default: // pods that the operator has not seen yet
		out.State, out.Reason = Unknown, c.Reason
		out.Problems = append(out.Problems, said(s, c))
	}
}

// since returns when a condition with the reason got its status; nil if none has the reason.
func since(s *subject, reason string) *time.Time {
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionEnforced} {
		if c := meta.FindStatusCondition(s.Status.Conditions, kind); c != nil && c.Reason == reason {
			return timeOf(c.LastTransitionTime)
		}
	}
	return nil
}

// selectorText returns the selector as kubectl prints it; {} selects every pod.
func selectorText(policy *v1alpha1.SecurityPolicy) string {
	if text := metav1.FormatLabelSelector(&policy.Spec.Selector); text != "<none>" {
		return text
	}
	return "{}"
}
