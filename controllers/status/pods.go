package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// Pod is a pod that the policy's selector matches, and that is neither finished nor being deleted.
type Pod struct {
	Name     string
	Workload Workload
	// Governor is the policy that applies to the pod: the oldest that matches it.
	Governor string
	// Bound is the policy whose documents the pod's sidecar runs; empty without a sidecar.
	Bound string
	// Stale says that the pod was injected with settings that change only with a restart.
	Stale bool
	// Altered says in what the sidecar differs from the one that the operator injects; empty if in nothing.
	Altered string
	// Silent says that the last report is too old: it is unknown what the sidecar runs.
	Silent bool
	// Failing names a container of the app that keeps failing under Takeover; empty if none does.
	Failing string
	// Report is the sidecar's last; nil before the first.
	Report *compiled.Report
}

// offence is the reason why enforcement is not proved for one pod, and its remedy.
type offence struct {
	pod    Pod
	reason string
	what   string
	// restart says that the remedy is a restart of the workload. Otherwise remedy says what to do.
	restart bool
	remedy  string
	// unknown are the features that the pod's sidecar does not know.
	unknown []string
}

// NeedsRestart reports whether the pod needs a restart to get the sidecar, this policy, or its current settings.
func (p *Pod) NeedsRestart(policy string) bool {
	return p.Governor == policy && (p.Bound != policy || p.Stale)
}

// judge returns the most severe problem of the pod; nil if there is none.
func (p Pod) judge(in *Input) *offence {
	policy, document := in.Policy.Name, in.Document
	o := &offence{pod: p, unknown: in.unknownTo(p.Report)}
	switch r := p.Report; {
	case p.Governor != policy:
		o.reason, o.what = v1alpha1.ReasonConflicted, fmt.Sprintf("is governed by the older policy %q", p.Governor)
		o.remedy = "change the selector of one of the two policies"
	case p.Bound == "":
		o.reason, o.what, o.restart = v1alpha1.ReasonPodsWithoutSidecar, "runs without a sidecar", true
	case p.Bound != policy:
		o.reason, o.what, o.restart = v1alpha1.ReasonPodsOutdated, fmt.Sprintf("has a sidecar for policy %q", p.Bound), true
	case p.Altered != "":
		o.reason, o.what, o.restart = v1alpha1.ReasonSidecarAltered, "has a sidecar that is not the injected one: "+printable(p.Altered), true
	case r != nil && r.Unredirected:
		o.reason, o.what, o.restart = v1alpha1.ReasonRedirectMissing, "has lost the rules that redirect its traffic to the sidecar", true
	case r != nil && len(r.Reachable) > 0:
		o.reason, o.what = v1alpha1.ReasonReachableAround, "can be reached around the sidecar at "+listeners(r.Reachable)
		o.remedy = "make the app listen on 127.0.0.1 there, or close the port"
	case len(o.unknown) > 0:
		o.reason = v1alpha1.ReasonSidecarTooOld
		o.what = fmt.Sprintf("has a sidecar (version %s) that does not know %s; it %s", cmp.Or(printable(r.Version), "unknown"), list(o.unknown), keeps(r))
		o.restart = p.Stale
		o.remedy = "name a newer sidecar in spec.image of the SidecarClass, and then restart the workload"
		if w := p.Workload; w.Restartable() {
			o.remedy += fmt.Sprintf(": kubectl rollout restart %s -n %s", w, in.Policy.Namespace)
		}
	case p.Stale: // the sidecar may refuse a document that it accepts after a restart
		o.reason, o.what, o.restart = v1alpha1.ReasonPodsOutdated, "has a sidecar with settings that change only with a restart", true
	case r != nil && r.Refused != "" && r.Refused == document:
		o.reason, o.what = v1alpha1.ReasonRefusedBySidecar, "has a sidecar that refused the document: "+printable(r.Error)
		o.remedy = "change the policy; the sidecar keeps the previous document"
	case r == nil:
		o.reason, o.what = v1alpha1.ReasonPodsOutdated, "has a sidecar that has not reported yet"
		o.remedy = "if this persists, look at the logs of its container postern"
	case p.Silent:
		o.reason, o.what = v1alpha1.ReasonReportTooOld, "has a sidecar that no longer reports"
		o.remedy = silentRemedy
	case r.Hash != document:
		o.reason, o.what = v1alpha1.ReasonPodsOutdated, "has a sidecar that does not run the current document yet"
		o.remedy = "if this persists, look at the logs of its container postern"
	case p.Failing != "":
		o.reason, o.what = v1alpha1.ReasonAppFailing, fmt.Sprintf("keeps failing in its container %q", p.Failing)
		o.remedy = takeoverRemedy
	default:
		return nil
	}
	return o
}

// unknownTo returns the features of the document that the sidecar does not know; none before its first report.
func (in *Input) unknownTo(report *compiled.Report) []string {
	if report == nil || in.Compiled == nil || report.Reads() >= in.Compiled.SchemaVersion {
		return nil
	}
	return in.Schema.Unknown(in.Compiled, report.Reads())
}

// keeps says what a sidecar does that is too old for the current document.
func keeps(r *compiled.Report) string {
	if r.Hash == "" {
		return "has no document that it can read, and responds to every request with 503"
	}
	return "keeps the last document that it can read, and still applies revocations"
}

// takeoverRemedy is for the most frequent failure of an app under Takeover: its bind returns EADDRINUSE.
const takeoverRemedy = "see its logs; under Takeover the sidecar listens on the app's port at the pod's address, so an app that listens " +
	"on 0.0.0.0 or [::] fails with EADDRINUSE: make it listen on 127.0.0.1, or set interception: Redirect"

// silentRemedy is for a sidecar that ran the document once and does not poll any more.
const silentRemedy = "look at the logs of its container postern, and at the network between the pod and the operator (port 9444)"

// advice says what to do about the offence.
func (o *offence) advice(in *Input) string {
	if !o.restart {
		return o.remedy
	}
	return restartAdvice(o.pod.Workload, in)
}

func restartAdvice(w Workload, in *Input) string {
	note, noted := in.Rollout[w]
	switch {
	case noted:
		return note
	case w.Restartable():
		return fmt.Sprintf("restart the workload: kubectl rollout restart %s -n %s", w, in.Policy.Namespace)
	case w.Name == "":
		return "delete the pod and create it again"
	}
	return fmt.Sprintf("have %s recreate its pods", w)
}

// maxOffenders is the CRD's limit.
const maxOffenders = 5

// count returns the counts and every offence, ordered by severity and then by name.
func count(in *Input) (*v1alpha1.PodCounts, []*offence) {
	c := &v1alpha1.PodCounts{Matched: int32(len(in.Pods)), Refused: in.countRefused()}
	var offences []*offence
	for _, p := range in.Pods {
		if p.Bound != "" {
			c.Injected++
		}
		if p.Bound == in.Policy.Name && p.Altered == "" && !p.Silent && p.Report != nil && in.Document != "" && p.Report.Hash == in.Document {
			c.Current++
		}
		if o := p.judge(in); o != nil {
			offences = append(offences, o)
		}
	}
	slices.SortFunc(offences, func(a, b *offence) int {
		return cmp.Or(cmp.Compare(rank(a.reason), rank(b.reason)), strings.Compare(a.pod.Name, b.pod.Name))
	})
	for _, o := range offences[:min(len(offences), maxOffenders)] {
		c.Offenders = append(c.Offenders, v1alpha1.PodOffence{
			Name: o.pod.Name, Reason: o.reason, Message: o.what + "; " + o.advice(in),
		})
	}
	c.Summary = fmt.Sprintf("%d/%d", c.Current, c.Matched)
	return c, offences
}

// rank orders reasons by severity: 0 is the most severe.
func rank(reason string) int { return slices.Index(Severities(), reason) }

// Severities returns the reasons that pods give, the most severe first.
func Severities() []string {
	return []string{
		v1alpha1.ReasonRedirectMissing, v1alpha1.ReasonReachableAround, v1alpha1.ReasonPodsWithoutSidecar, v1alpha1.ReasonSidecarAltered, v1alpha1.ReasonRefusedBySidecar, v1alpha1.ReasonSidecarTooOld,
		v1alpha1.ReasonReportTooOld, v1alpha1.ReasonPodsOutdated, v1alpha1.ReasonAppFailing, v1alpha1.ReasonConflicted,
	}
}

// maxListed bounds the names that a message lists, and maxQuoted the bytes that it quotes from a pod.
const (
	maxListed = 3
	maxQuoted = 256
)

func listeners(reachable []string) string {
	var safe []string
	for _, r := range reachable {
		safe = append(safe, printable(r))
	}
	return list(safe)
}

// list joins the first few names.
func list(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}

// printable makes text from a pod, which may be hostile, safe to print on a terminal.
func printable(s string) string { return printableUpTo(s, maxQuoted) }

func printableUpTo(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	return truncate(s, limit)
}

// truncate cuts s at limit bytes and marks the cut with an ellipsis.
func truncate(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
