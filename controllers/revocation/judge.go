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
	v := &verdict{}
	pods := runners(o, known)
	carriers := map[string][]status.Carrier{} // by revocation
	exists := map[string]bool{}
	for i := range o.policies {
		policy := &o.policies[i]
		exists[policy.Name] = true
		v.carry(carriers, o, policy, known[policy.Name], pods[policy.Name], now)
	}
	for i := range o.revocations {
		r := &o.revocations[i]
		next := status.OfRevocation(status.RevocationInput{
			Revocation: r, Carriers: carriers[r.Name], PolicyExists: exists[r.Spec.PolicyName], Now: now,
		})
		if !equality.Semantic.DeepEqual(r.Status, next) {
			v.changed = append(v.changed, change{r, next})
		}
	}
	return v
}

// carry adds what becomes of each revocation in one policy.
func (v *verdict) carry(carriers map[string][]status.Carrier, o *observation, policy *v1alpha1.SecurityPolicy, known *past, pods []status.Runner, now time.Time) {
	in := compile.Input{Policy: policy, Classes: o.classes, Revocations: o.revocations, Now: now}
	if known != nil {
		in.Last = known.present
	}
	intent := compile.Intend(in)
	if intent.Document == nil {
		return
	}
	v.expires(intent, now)
	entries := byRevocation(intent.Document)
	for _, outcome := range intent.Revoked {
		if outcome.Reason == v1alpha1.ReasonNoPolicy {
			continue
		}
		c := status.Carrier{Policy: policy.Name, Outcome: outcome, Pods: pods, Since: known.carries(entries[outcome.Name])}
		c.Shadow = known != nil && known.shadow
		carriers[outcome.Name] = append(carriers[outcome.Name], c)
	}
}

// expires notes when the first entry of the document, or a revocation that it has no room for, expires.
func (v *verdict) expires(intent compile.Intent, now time.Time) {
	note := func(left time.Duration) {
		if left > 0 && (v.next == 0 || left < v.next) {
			v.next = left
		}
	}
	note(compile.NextExpiry(intent.Document, now))
	for _, outcome := range intent.Revoked {
		if !outcome.Expires.IsZero() {
			note(outcome.Expires.Sub(now))
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
		if status.Gone(pod) {
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

// home returns the policy that the pod counts for, and whether its sidecar takes the documents of that.
func home(pod *corev1.Pod, o *observation, selection *compile.Selection) (policy string, running bool) {
	bound, ok := deliver.BoundPolicy(pod)
	if ok && slices.ContainsFunc(o.policies, func(p v1alpha1.SecurityPolicy) bool { return p.Name == bound }) {
		return bound, true
	}
	if governor := selection.Select(pod.Labels); governor != nil {
		return governor.Name, false
	}
	return "", false
}
