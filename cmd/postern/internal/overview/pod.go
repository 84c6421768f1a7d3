package overview

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

// subject is a policy with what its pods are compared with.
type subject struct {
	*v1alpha1.SecurityPolicy
	// class is nil if it does not exist or is not known.
	class *v1alpha1.SidecarClass
	// current says that the status is about the policy as it is now.
	current bool
}

// judgement is the result for one pod.
type judgement struct {
	Pod
	pod *corev1.Pod
	// restart says that a restart of the workload mends it.
	restart bool
}

// judge returns whether the pod enforces the policy, by its own report. The operator compares more than a person can: what it says of a
// pod in the policy's status counts too.
func (p *place) judge(s *subject, pod *corev1.Pod) judgement {
	j := judgement{pod: pod, Pod: Pod{Name: pod.Name, State: NotEnforced}}
	if name := ownerName(pod); !strings.HasPrefix(name, "pod/") {
		j.Workload = name
	}
	bound, injected := deliver.BoundPolicy(pod)
	if i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == render.SidecarName }); i >= 0 {
		j.Image = pod.Spec.InitContainers[i].Image
	}
	report, reported := deliver.ReportFrom(pod)
	if reported {
		j.Version, j.Document = report.Version, report.Hash
		j.Since, j.Reported = reportTimes(pod)
	}
	switch {
	case !injected:
		j.fail(true, v1alpha1.ReasonPodsWithoutSidecar, "no sidecar")
	case bound != s.Name:
		j.fail(true, v1alpha1.ReasonPodsOutdated, fmt.Sprintf("the sidecar of policy %q", bound))
	case !p.judgeReport(s, &j, report, reported) && !j.offends(s):
		j.State = Enforced
		if s.Spec.Mode == v1alpha1.ModeShadow {
			j.State = Shadow
		}
	}
	return j
}

func (j *judgement) fail(restart bool, reason, message string) {
	j.Reason, j.Message, j.restart = reason, message, restart
}

// judgeReport sets the most severe problem of a pod with the policy's sidecar, and reports whether there is one.
func (p *place) judgeReport(s *subject, j *judgement, r compiled.Report, reported bool) bool {
	wanted := s.Status.Document
	switch {
	case r.Unredirected:
		j.fail(true, v1alpha1.ReasonRedirectMissing, "the rules that redirect traffic to the sidecar were deleted")
	case len(r.Reachable) > 0:
		j.fail(false, v1alpha1.ReasonReachableAround, "reachable around the sidecar at "+list(r.Reachable))
	case s.class != nil && s.class.Spec.Image != "" && j.Image != s.class.Spec.Image:
		j.fail(true, v1alpha1.ReasonPodsOutdated, fmt.Sprintf("the sidecar image is %s, and SidecarClass %s names %s", j.Image, s.class.Name, s.class.Spec.Image))
	case r.Refused != "" && r.Refused == wanted:
		j.fail(false, v1alpha1.ReasonRefusedBySidecar, "the sidecar refused the document: "+r.Error)
	case !reported:
		j.fail(false, v1alpha1.ReasonPodsOutdated, "the sidecar has not reported yet")
	case j.Reported != nil && p.Now.Sub(*j.Reported) >= deliver.MaxReportAge:
		j.fail(false, v1alpha1.ReasonReportTooOld, "no report since "+j.Reported.Format(time.RFC3339))
	case wanted != "" && r.Hash != wanted:
		j.fail(false, v1alpha1.ReasonPodsOutdated, fmt.Sprintf("document %s in place of %s", short(r.Hash), short(wanted)))
	default:
		return false
	}
	return true
}

// restarting are the reasons of offenders that a restart mends.
var restarting = []string{v1alpha1.ReasonPodsOutdated, v1alpha1.ReasonSidecarAltered, v1alpha1.ReasonRedirectMissing, v1alpha1.ReasonPodsWithoutSidecar}

// offends takes over what the operator says of the pod, and reports whether it says anything.
func (j *judgement) offends(s *subject) bool {
	if !s.current || s.Status.Pods == nil {
		return false
	}
	for _, o := range s.Status.Pods.Offenders {
		if o.Name == j.Name && o.Reason != v1alpha1.ReasonConflicted {
			message, _, _ := strings.Cut(o.Message, "; ") // the rest is advice
			j.fail(slices.Contains(restarting, o.Reason), o.Reason, message)
			return true
		}
	}
	return false
}

// reportTimes returns when the state of the pod's sidecar began and was last confirmed.
func reportTimes(pod *corev1.Pod) (since, reported *time.Time) {
	for _, c := range pod.Status.Conditions {
		if c.Type == deliver.ConditionSidecar {
			return timeOf(c.LastTransitionTime), timeOf(c.LastProbeTime)
		}
	}
	return nil, nil
}

func timeOf(t metav1.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	at := t.UTC()
	return &at
}

// short returns the start of a document's hash.
func short(hash string) string {
	if hash == "" {
		return "none"
	}
	hash = strings.TrimPrefix(hash, "sha256:")
	return hash[:min(len(hash), 8)]
}

// maxListed bounds the names in one sentence.
const maxListed = 3

// list joins the first few names.
func list(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}

// reports says whether the pod's sidecar reports a problem of the kind.
func (j *judgement) reports(kind string) bool {
	report, ok := deliver.ReportFrom(j.pod)
	return ok && slices.ContainsFunc(report.Problems, func(p compiled.Problem) bool { return p.Kind == kind })
}
