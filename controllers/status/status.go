// Package status computes a policy's status from what the operator decided and observed. It is pure: it uses no client, and
// the time is a parameter.
//
// Enforced is proved, not assumed: True means that every matched pod has this policy's sidecar, with settings that need no
// restart, that each sidecar reports exactly this document, and that none can be reached around. Without pods it is Unknown:
// there is nothing to prove and nothing wrong, so an alert on False is meaningful. In Shadow mode it is False whatever the
// pods report, because nothing is refused.
//
// A dependency of the sidecars that is missing (Vault, a signing key, Redis) has its own condition and does not make Enforced
// False: the document runs, and refuses what it cannot decide.
package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// Input is everything that a status is computed from.
type Input struct {
	// Policy with its status so far.
	Policy *v1alpha1.SecurityPolicy
	// Class is nil if ClassError is set.
	Class      *v1alpha1.SidecarClass
	ClassError error
	Findings   []compile.Finding
	Conflict   *Conflict
	// NamespaceEnabled says that the webhook sees the namespace's pods. NamespaceExcluded says that no label can enable it.
	NamespaceEnabled, NamespaceExcluded bool
	// NamespaceLabel is the value of the namespace's label for injection; empty if it has none.
	NamespaceLabel string
	// WebhookProblem says why new pods of an enabled namespace get no sidecar, and what to do; empty if they do.
	WebhookProblem string
	// Document is the hash of the written document; empty if there is none. WriteError says why it is not that of the current
	// policy.
	Document   string
	WriteError error
	// Revision is that of the document, and Generation that of the policy that it was compiled from; 0 if there is none.
	Revision, Generation int64
	// MissingRights names what the operator may not do, although it needs to.
	MissingRights []string
	// Compiled is the document that sidecars should run; nil if there is none.
	Compiled *compiled.Policy
	Pods     []Pod
	// Refused are the workloads whose pods the API server refuses.
	Refused []Refusal
	// Schema names the features that a sidecar with an older schema version does not know; nil means that of this build.
	Schema compiled.Schema
	// Rollout says what the operator does about workloads with outdated pods.
	Rollout map[Workload]string
	Now     time.Time
}

// Conflict is an older policy that selects one of the same pods.
type Conflict struct {
	Older, Pod string
}

// maxMessage bounds a condition's message, in bytes; the API allows 32 KiB.
const maxMessage = 8 << 10

// Of returns the policy's new status.
func Of(in Input) v1alpha1.SecurityPolicyStatus {
	in.Pods = slices.Clone(in.Pods) // they are in no particular order, and messages name the first of them
	slices.SortFunc(in.Pods, func(a, b Pod) int { return strings.Compare(a.Name, b.Name) })
	pods, offences := count(&in)
	next := v1alpha1.SecurityPolicyStatus{
		ObservedGeneration: in.Policy.Generation,
		Document:           in.Document,
		Revision:           max(compile.RecordedRevision(in.Policy), in.Revision),
		Pods:               pods,
	}
	programmed := in.programmed()
	conditions := append([]metav1.Condition{in.accepted(), programmed, in.enforced(programmed, offences), in.sharedState()}, in.dependencies()...)
	conditions = append(conditions, in.refused()...)
	next.Conditions = ordered(append(summary(conditions), conditions...), &in)
	return next
}

// ordered returns the conditions, in their order, with the transition times of those that did not change. The columns of the CRD
// depend on the order: they know a condition by its index, because the API server's search for it by type takes twice as long, and
// package index reads a namespace's table for new pods.
func ordered(conditions []metav1.Condition, in *Input) []metav1.Condition {
	before := slices.Clone(in.Policy.Status.Conditions)
	out := make([]metav1.Condition, 0, len(conditions))
	for _, c := range conditions {
		set(&before, c, in.Policy.Generation, in.Now)
		out = append(out, *meta.FindStatusCondition(before, c.Type))
	}
	return out
}

func set(conditions *[]metav1.Condition, c metav1.Condition, generation int64, now time.Time) {
	c.ObservedGeneration = generation
	c.LastTransitionTime = metav1.NewTime(now)
	c.Message = truncate(c.Message, maxMessage)
	meta.SetStatusCondition(conditions, c)
}

func (in *Input) accepted() metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse}
	errs, warnings := in.texts(compile.Error), in.texts(compile.Warning)
	switch {
	case in.ClassError != nil:
		c.Reason, c.Message = v1alpha1.ReasonClassNotFound, in.ClassError.Error()+". "+in.meanwhile()
	case len(errs) > 0:
		c.Reason, c.Message = v1alpha1.ReasonInvalid, strings.Join(errs, "; ")+". "+in.meanwhile()
	case in.Conflict != nil:
		c.Reason = v1alpha1.ReasonConflicted
		c.Message = fmt.Sprintf("the older policy %q selects some of the same pods, for example %q, and applies to them: change one of the two selectors",
			in.Conflict.Older, in.Conflict.Pod)
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonAccepted, "the policy is valid"
		if len(warnings) > 0 {
			c.Message += "; warnings: " + strings.Join(warnings, "; ")
		}
	}
	return c
}

func (in *Input) programmed() metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionProgrammed, Status: metav1.ConditionFalse}
	switch {
	case in.ClassError != nil || len(in.texts(compile.Error)) > 0:
		c.Reason, c.Message = v1alpha1.ReasonNotAccepted, "the policy is not valid. "+in.meanwhile()
	case len(in.MissingRights) > 0:
		c.Reason = v1alpha1.ReasonMissingRights
		c.Message = fmt.Sprintf("the operator may not %s, which it needs to deliver documents and to read the sidecars' reports: "+
			"compare ClusterRole postern-operator and its binding with the chart's", strings.Join(in.MissingRights, ", "))
	case in.WriteError != nil:
		c.Reason, c.Message = v1alpha1.ReasonPending, "the document could not be written yet: "+in.WriteError.Error()
	case in.NamespaceExcluded:
		c.Reason = v1alpha1.ReasonInjectionDisabled
		c.Message = fmt.Sprintf("pods in namespace %s never get a sidecar, because the installation excludes it (webhook.excludedNamespaces "+
			"of the chart): run the workload in another namespace", in.Policy.Namespace)
	case !in.NamespaceEnabled:
		c.Reason = v1alpha1.ReasonInjectionDisabled
		c.Message = in.enable()
	case in.WebhookProblem != "":
		c.Reason = v1alpha1.ReasonWebhookMissing
		c.Message = "new pods in the namespace get no sidecar, because " + in.WebhookProblem
	default:
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonProgrammed, "the document is written"
	}
	return c
}

// enable says how to enable injection in the namespace.
func (in *Input) enable() string {
	command := fmt.Sprintf("kubectl label namespace %s %s=%s", in.Policy.Namespace, v1alpha1.InjectionLabel, v1alpha1.InjectionLabelEnabled)
	if in.NamespaceLabel == "" {
		return "new pods in the namespace get no sidecar; to enable injection: " + command
	}
	return fmt.Sprintf("new pods in the namespace get no sidecar, because its label %s has the value %q, not %q; to enable injection: %s --overwrite",
		v1alpha1.InjectionLabel, in.NamespaceLabel, v1alpha1.InjectionLabelEnabled, command)
}

// meanwhile says what pods run while the policy is not valid.
func (in *Input) meanwhile() string {
	selector := slices.ContainsFunc(in.Findings, func(f compile.Finding) bool { return f.Severity == compile.Error && f.Field == "spec.selector" })
	running := fmt.Sprintf("the last good document: revision %d, of generation %d of the policy", in.Revision, in.Generation)
	switch {
	case in.Document != "" && in.ClassError != nil:
		return "Running pods keep " + running + "; new pods are refused until the SidecarClass exists, because it configures the sidecars"
	case in.Document != "" && selector:
		return "Running pods keep " + running + "; new pods are refused until the selector is valid"
	case in.Document != "":
		return "All pods, including new ones, run " + running
	case compile.RecordedRevision(in.Policy) > 0:
		return fmt.Sprintf("Its last good document, revision %d, is no longer in its ConfigMap: running sidecars keep it in memory, and new pods are refused", in.Policy.Status.Revision)
	}
	return "No document was ever written for it, so new pods that it selects are refused"
}

func (in *Input) enforced(programmed metav1.Condition, offences []*offence) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionEnforced, Status: metav1.ConditionFalse}
	switch {
	case programmed.Status != metav1.ConditionTrue:
		c.Reason, c.Message = v1alpha1.ReasonNotProgrammed, programmed.Message
	case in.Policy.Spec.Mode == v1alpha1.ModeShadow:
		c.Reason = v1alpha1.ReasonShadow
		c.Message = "mode is Shadow: refusals are counted and logged, but no request is refused"
	case len(in.Pods) == 0:
		c.Status, c.Reason = metav1.ConditionUnknown, v1alpha1.ReasonNoPods
		c.Message = "no running pod matches the selector: there is nothing to enforce"
		if len(in.Refused) > 0 {
			c.Message += "; " + plural(int(in.countRefused()), "pod was", "pods were") + " refused: see " + v1alpha1.ConditionPodsAdmitted
		}
	case len(offences) > 0:
		c.Reason, c.Message = offences[0].reason, in.summarize(offences)
	default:
		c.Status, c.Reason = metav1.ConditionTrue, v1alpha1.ReasonEnforced
		c.Message = fmt.Sprintf("%s this document, and cannot be reached around the sidecar", plural(len(in.Pods), "pod enforces", "pods enforce"))
	}
	return c
}

func (in *Input) texts(severity compile.Severity) []string { return texts(in.Findings, severity) }

// Errors returns the message of a condition about the errors among findings.
func Errors(findings []compile.Finding) string {
	return truncate(strings.Join(texts(findings, compile.Error), "; "), maxMessage)
}

// texts returns the findings of that severity, in order.
func texts(findings []compile.Finding, severity compile.Severity) []string {
	var out []string
	for _, f := range findings {
		if f.Severity == severity {
			out = append(out, f.String())
		}
	}
	return out
}

// summarize says for each reason how many and which pods have it, and what to do.
func (in *Input) summarize(offences []*offence) string {
	var parts []string
	for len(offences) > 0 {
		n := slices.IndexFunc(offences, func(o *offence) bool { return o.reason != offences[0].reason })
		if n < 0 {
			n = len(offences)
		}
		parts = append(parts, in.summarizeOne(offences[:n]))
		offences = offences[n:]
	}
	return strings.Join(parts, ". ")
}

func (in *Input) summarizeOne(same []*offence) string {
	var names, advice []string
	for _, o := range same {
		names = append(names, o.pod.Name)
		if a := o.advice(in); !slices.Contains(advice, a) {
			advice = append(advice, a)
		}
	}
	advice = advice[:min(len(advice), maxListed)]
	return fmt.Sprintf("%s: %s; %s", phrase(same), list(names), strings.Join(advice, "; "))
}

// phrase says what is wrong with several pods that share a reason.
func phrase(same []*offence) string {
	n := len(same)
	switch same[0].reason {
	case v1alpha1.ReasonPodsWithoutSidecar:
		return plural(n, "pod runs", "pods run") + " without a sidecar"
	case v1alpha1.ReasonSidecarAltered:
		return plural(n, "pod has a sidecar", "pods have sidecars") + " that the operator did not inject (" + printable(same[0].pod.Altered) + ")"
	case v1alpha1.ReasonRedirectMissing:
		return plural(n, "pod has", "pods have") + " lost the rules that redirect traffic to the sidecar"
	case v1alpha1.ReasonReportTooOld:
		return plural(n, "sidecar", "sidecars") + " stopped reporting"
	case v1alpha1.ReasonReachableAround:
		return plural(n, "pod", "pods") + " can be reached around the sidecar, for example at " + listeners(same[0].pod.Report.Reachable)
	case v1alpha1.ReasonRefusedBySidecar:
		return plural(n, "sidecar", "sidecars") + " refused the document (" + cmp.Or(printable(same[0].pod.Report.Error), "without a reason") + ")"
	case v1alpha1.ReasonSidecarTooOld:
		return plural(n, "pod has a sidecar", "pods have sidecars") + " older than what the policy uses (" + list(same[0].unknown) +
			"); the sidecar " + keeps(same[0].pod.Report)
	case v1alpha1.ReasonAppFailing:
		return plural(n, "pod keeps", "pods keep") + " failing"
	case v1alpha1.ReasonConflicted:
		return plural(n, "pod is", "pods are") + fmt.Sprintf(" governed by the older policy %q", same[0].pod.Governor)
	}
	return plural(n, "pod does", "pods do") + " not run the current document and settings"
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
