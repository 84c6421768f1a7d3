package overview

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/status"
)

// doctor is the command that checks the installation.
const doctor = "postern doctor"

// ownProblems returns why the policy itself is not enforced.
func (p *place) ownProblems(s *subject, missing error) []Problem {
	var out []Problem
	if missing != nil {
		out = append(out, p.noClass(s, missing.Error()))
	}
	if !p.enabled() {
		what := fmt.Sprintf("namespace %s has no label %s=%s, so its new pods get no sidecar", p.Name, v1alpha1.InjectionLabel, v1alpha1.InjectionLabelEnabled)
		if value := p.Labels[v1alpha1.InjectionLabel]; value != "" {
			what = fmt.Sprintf("the label %s of namespace %s has the value %q, not %q, so new pods get no sidecar",
				v1alpha1.InjectionLabel, p.Name, value, v1alpha1.InjectionLabelEnabled)
		}
		out = append(out, Problem{Severity: Error, Reason: v1alpha1.ReasonInjectionDisabled, What: what, Commands: []string{p.label()}})
	}
	for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed} {
		c := meta.FindStatusCondition(s.Status.Conditions, kind)
		known := c != nil && slices.ContainsFunc(out, func(found Problem) bool { return found.Reason == c.Reason })
		if c == nil || !s.current || c.Status == metav1.ConditionTrue || known || c.Reason == v1alpha1.ReasonNotAccepted {
			continue
		}
		if c.Reason == v1alpha1.ReasonInjectionDisabled && p.Known && p.enabled() && !strings.Contains(c.Message, "excludes it") {
			continue // the label is new, and the operator is about to see it
		}
		out = append(out, p.refused(s, c))
	}
	return out
}

// refused returns the problem that a condition Accepted or Programmed states.
func (p *place) refused(s *subject, c *metav1.Condition) Problem {
	out := Problem{Severity: Error, Reason: c.Reason, What: c.Message}
	switch c.Reason {
	case v1alpha1.ReasonClassNotFound:
		return p.noClass(s, c.Message)
	case v1alpha1.ReasonInvalid:
		if field := fieldOf(c.Message); field != "" {
			out.Commands = append(out.Commands, "kubectl explain securitypolicy."+field)
		}
		out.Commands = append(out.Commands, edit(s))
	case v1alpha1.ReasonConflicted:
		out.Commands = []string{fmt.Sprintf("kubectl get securitypolicies -n %s -o custom-columns=NAME:.metadata.name,SELECTOR:.spec.selector", p.Name), edit(s)}
	case v1alpha1.ReasonInjectionDisabled:
		if !strings.Contains(c.Message, "excludes it") {
			out.Commands = []string{p.label()}
		}
	case v1alpha1.ReasonPending, v1alpha1.ReasonWebhookMissing, v1alpha1.ReasonMissingRights:
		out.Commands = []string{doctor}
	}
	return out
}

// specPath finds the field in a finding, such as spec.jwt.providers[0].issuer.
var specPath = regexp.MustCompile(`^spec(\.[a-zA-Z]+(\[\d+\])?)+`)

// fieldOf returns the field that a message of Invalid begins with, as kubectl explain takes it; empty if it names none.
func fieldOf(message string) string {
	return regexp.MustCompile(`\[\d+\]`).ReplaceAllString(specPath.FindString(message), "")
}

func edit(s *subject) string {
	return fmt.Sprintf("kubectl edit securitypolicy %s -n %s", s.Name, s.Namespace)
}

// noClass returns the problem of a class that does not exist, with the commands that name one that does.
func (p *place) noClass(s *subject, message string) Problem {
	out := Problem{
		Severity: Error, Reason: v1alpha1.ReasonClassNotFound, What: strings.TrimPrefix(message, compile.ErrClassNotFound.Error()+": "),
	}
	switch {
	case len(p.Classes) == 0 && p.ClassesKnown:
		out.Commands = []string{"kubectl apply -f sidecarclass.yaml"}
		out.Do = "there is no SidecarClass at all: install the chart, or apply one like config/samples/sidecarclass.yaml"
	case s.Spec.SidecarClassName != nil && len(p.Classes) > 0:
		out.Commands = []string{fmt.Sprintf(`kubectl patch securitypolicy %s -n %s --type merge -p '{"spec":{"sidecarClassName":"%s"}}'`, s.Name, p.Name, p.Classes[0].Name)}
	case len(p.Classes) > 0:
		out.Commands = []string{fmt.Sprintf("kubectl annotate sidecarclass %s %s=true", p.Classes[0].Name, v1alpha1.DefaultClassAnnotation)}
	default:
		out.Commands = []string{"kubectl get sidecarclasses"}
	}
	return out
}

// notSeen is the problem of a policy that the operator has not looked at. A new policy has the generation -1 in its status.
func notSeen(s *subject) Problem {
	seen := "it has never looked at it"
	if g := s.Status.ObservedGeneration; g > 0 {
		seen = fmt.Sprintf("its status is about generation %d", g)
	}
	return Problem{
		Severity: Error, Reason: v1alpha1.ReasonPending, What: fmt.Sprintf("the operator has not processed generation %d of the policy: %s", s.Generation, seen),
		Do: "this takes a second; if it persists:", Commands: []string{doctor},
	}
}

func shadowed(s *subject) Problem {
	return Problem{
		Severity: Warning, Reason: v1alpha1.ReasonShadow, What: "mode is Shadow: refusals are counted and logged, but no request is refused",
		Commands: []string{fmt.Sprintf(`kubectl patch securitypolicy %s -n %s --type merge -p '{"spec":{"mode":"Enforce"}}'`, s.Name, s.Namespace)},
	}
}

// said repeats what the operator says.
func said(_ *subject, c *metav1.Condition) Problem {
	return Problem{Severity: Error, Reason: c.Reason, What: c.Message}
}

// noPods says why there are no pods, as far as workloads show it.
func (p *place) noPods(s *subject) Problem {
	out := Problem{Severity: Note, Reason: v1alpha1.ReasonNoPods, What: "no running pod matches the selector " + selectorText(s.SecurityPolicy)}
	selector, err := compile.ParseSelector(s.SecurityPolicy)
	if err != nil || !p.WorkloadsKnown {
		return out
	}
	found := false
	for _, w := range p.Workloads {
		if w.Namespace != p.Name || !selector.Matches(labels.Set(w.Labels)) {
			continue
		}
		found = true
		if w.Replicas == 0 {
			out.What += fmt.Sprintf("; %s wants 0 pods", w)
			if w.Restartable() && w.Kind != status.DaemonSet {
				out.Commands = append(out.Commands, fmt.Sprintf("kubectl scale %s --replicas=1 -n %s", w, p.Name))
			}
			continue
		}
		out.Severity = Warning
		out.What += fmt.Sprintf("; %s wants %d", w, w.Replicas)
		out.Commands = append(out.Commands, fmt.Sprintf("kubectl describe %s -n %s", w, p.Name))
	}
	if !found {
		out.Severity = Warning
		out.What += ", and neither do the pods of any Deployment, StatefulSet or DaemonSet: compare it with their labels"
		out.Commands = []string{fmt.Sprintf("kubectl get pods -n %s --show-labels", p.Name)}
	}
	return out
}

// otherProblems returns what is wrong although it does not prevent enforcement.
func (p *place) otherProblems(s *subject, out *Policy, judged []judgement) []Problem {
	if !s.current {
		return nil
	}
	var found []Problem
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionAccepted); c != nil && c.Status == metav1.ConditionTrue {
		if _, warnings, ok := strings.Cut(c.Message, "; warnings: "); ok {
			found = append(found, Problem{Severity: Warning, Reason: "Warnings", What: warnings, Commands: []string{edit(s)}})
		}
	}
	for _, kind := range []string{
		v1alpha1.ConditionPodsAdmitted, v1alpha1.ConditionSigningKeyReady, v1alpha1.ConditionKeysReady, v1alpha1.ConditionCertificateReady, v1alpha1.ConditionVaultReady,
		v1alpha1.ConditionSharedState, v1alpha1.ConditionClientAddressKnown,
	} {
		c := meta.FindStatusCondition(s.Status.Conditions, kind)
		if c == nil || c.Status != metav1.ConditionFalse {
			continue
		}
		problem := Problem{Severity: Warning, Reason: c.Reason, What: c.Message}
		switch {
		case c.Reason == v1alpha1.ReasonInProcess && out.Matched < 2:
			problem.Severity = Note
		case kind == v1alpha1.ConditionPodsAdmitted:
			problem.Commands = []string{fmt.Sprintf("kubectl get events -n %s --field-selector type=Warning", p.Name)}
		case kind == v1alpha1.ConditionClientAddressKnown || c.Reason == v1alpha1.ReasonInProcess:
			problem.Commands = []string{"kubectl edit sidecarclass " + cmp.Or(out.Class, "NAME")}
		case c.Reason == v1alpha1.ReasonRedisEvicts:
			problem.Commands = []string{"redis-cli CONFIG SET maxmemory-policy noeviction"}
		default:
			problem.Commands = p.complaining(kind, judged)
			if s.class != nil && s.class.Spec.Redis != nil && c.Reason == v1alpha1.ReasonRedisUnavailable {
				problem.Do = "look whether Redis runs, and can be reached from the pods: " + strings.Join(s.class.Spec.Redis.Addresses, ", ")
			}
		}
		found = append(found, problem)
	}
	return found
}
