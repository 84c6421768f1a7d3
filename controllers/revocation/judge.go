package revocation

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/index"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/status"
)

// verdict is what follows from an observation.
type verdict struct {
	changed []change
	// next is when something expires; 0 for never.
	next time.Duration
}

// judge is pure: the same observation, history and time give the same verdict.
func judge(o *observation, known map[string]*past, now time.Time) *verdict {
	j := &judging{
		observation: o, known: known, pods: runners(o, known), now: now,
		carriers: map[string][]status.Carrier{}, exists: map[string]bool{},
	}
	for i := range o.policies {
		j.policy(&o.policies[i])
	}
	for i := range o.revocations {
		r := &o.revocations[i]
		next := status.OfRevocation(status.RevocationInput{
			Revocation: r, Carriers: j.carriers[r.Name], PolicyExists: j.exists[r.Spec.PolicyName], Now: now,
		})
		if !equality.Semantic.DeepEqual(r.Status, next) {
			j.changed = append(j.changed, change{r, next})
		}
	}
	return &j.verdict
}

// judging collects a verdict.
type judging struct {
	*observation
	known map[string]*past
	pods  map[string][]status.Runner
	now   time.Time
	// carriers are the policies that each revocation applies to, and exists names all policies.
	carriers map[string][]status.Carrier
	exists   map[string]bool
	verdict
}

// policy adds each revocation's outcome in one policy.
func (j *judging) policy(p *v1alpha1.SecurityPolicy) {
	j.exists[p.Name] = true
	known := j.known[p.Name]
	in := compile.Input{Policy: p, SpecUnknown: index.Trimmed(p), Classes: j.classes, Revocations: j.revocations, Now: j.now}
	if known != nil {
		in.Last = known.present
	}
	intent := compile.Intend(in)
	if intent.Document == nil {
		return
	}
	j.expires(intent)
	entries := byRevocation(intent.Document)
	for _, outcome := range intent.Revoked {
		if outcome.Reason == v1alpha1.ReasonNoPolicy {
			continue
		}
		j.carriers[outcome.Name] = append(j.carriers[outcome.Name], status.Carrier{
			Policy: p.Name, Outcome: outcome, Pods: j.pods[p.Name],
			Since: known.carries(entries[outcome.Name]), Shadow: known != nil && known.shadow,
		})
	}
}

// expires sets next to when the first entry of the document, or a revocation that it has no room for, expires.
func (j *judging) expires(intent compile.Intent) {
	note := func(left time.Duration) {
		if left > 0 && (j.next == 0 || left < j.next) {
			j.next = left
		}
	}
	note(compile.NextExpiry(intent.Document, j.now))
	for _, outcome := range intent.Revoked {
		if !outcome.Expires.IsZero() {
			note(outcome.Expires.Sub(j.now))
		}
	}
}

func byRevocation(p *compiled.Policy) map[string][]compiled.RevokedTokens {
	out := map[string][]compiled.RevokedTokens{}
	for _, entry := range p.RevokedTokens {
		out[entry.Name] = append(out[entry.Name], entry)
	}
	return out
}

// runners returns the pods of each policy, by name.
func runners(o *observation, known map[string]*past) map[string][]status.Runner {
	out := map[string][]status.Runner{}
	selection := compile.NewSelection(o.policies)
	for i := range o.pods {
		pod := &o.pods[i]
		if status.Inactive(pod) {
			continue
		}
		policy, running := home(pod, o, selection)
		if policy == "" {
			continue
		}
		runner := status.Runner{Name: pod.Name}
		if report, ok := deliver.ReportFrom(pod); ok && running {
			runner.Running = known[policy].running(report.Hash)
		}
		out[policy] = append(out[policy], runner)
	}
	for _, pods := range out {
		slices.SortFunc(pods, func(a, b status.Runner) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}

// home returns the policy that the pod counts for, and whether its sidecar runs that policy's documents.
func home(pod *corev1.Pod, o *observation, selection *compile.Selection) (policy string, running bool) {
	bound, ok := deliver.BoundPolicy(pod)
	if ok && slices.ContainsFunc(o.policies, func(p v1alpha1.SecurityPolicy) bool { return p.Name == bound }) {
		return bound, render.RunsSidecar(pod.Spec.InitContainers, o.key)
	}
	if governor := selection.Select(pod.Labels); governor != nil {
		return governor.Name, false
	}
	return "", false
}
