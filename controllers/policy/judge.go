package policy

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/status"
)

// verdict is what follows from an observation.
type verdict struct {
	class    *v1alpha1.SidecarClass
	classErr error
	findings []compile.Finding
	// document is nil where the policy cannot be compiled.
	document *compiled.Policy
	// sidecar is what pods should be injected with, and injection its hash; empty without a document.
	sidecar   render.Sidecar
	injection string
	pods      []status.Pod
	conflict  *status.Conflict
}

// judge is pure: the same observation and settings give the same verdict.
func judge(o *observation, settings render.Settings) *verdict {
	v := &verdict{}
	v.class, v.classErr = compile.ResolveClass(o.policy, o.classes)
	if v.classErr == nil {
		v.compile(o, settings)
	}
	v.judgePods(o)
	return v
}

func (v *verdict) compile(o *observation, settings render.Settings) {
	v.document, v.findings = compile.Compile(o.policy, v.class)
	if v.document == nil {
		return
	}
	refuse := func(err error) {
		v.document = nil
		v.findings = append(v.findings, compile.Finding{Severity: compile.Error, Field: "spec", Message: err.Error()})
	}
	if _, err := compiled.Encode(v.document); err != nil {
		refuse(err)
		return
	}
	v.sidecar = render.Sidecar{
		Policy: v.document, Class: v.class, Interception: compile.Interception(o.policy, v.class), Settings: settings,
	}
	hash, err := render.InjectionHash(v.sidecar)
	if err != nil {
		refuse(fmt.Errorf("hashing injection: %w", err))
		return
	}
	v.injection = hash
}

// judgePods looks at the pods that the policy's selector picks. A selector that cannot be parsed picks none here; Compile
// says what is wrong with it.
func (v *verdict) judgePods(o *observation) {
	selector, err := metav1.LabelSelectorAsSelector(&o.policy.Spec.Selector)
	if err != nil {
		return
	}
	selection := compile.NewSelection(o.policies)
	for i := range o.pods {
		pod := &o.pods[i]
		if gone(pod) {
			continue
		}
		if !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		p := status.Pod{Name: pod.Name, Workload: status.WorkloadOf(pod), Governor: selection.Select(pod.Labels).Name}
		p.Bound, _ = deliver.BoundPolicy(pod)
		p.Stale = v.injection != "" && p.Bound != "" && pod.Annotations[render.InjectionAnnotation] != v.injection
		p.Failing = failing(pod)
		if report, ok := deliver.ReportFrom(pod); ok {
			p.Report = &report
		}
		if p.Governor != o.policy.Name && (v.conflict == nil || strings.Compare(p.Name, v.conflict.Pod) < 0) {
			v.conflict = &status.Conflict{Older: p.Governor, Pod: p.Name}
		}
		v.pods = append(v.pods, p)
	}
}

// gone reports whether the pod is finished or on its way out: it takes no traffic that a policy could govern.
func gone(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil || finished(pod) }

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
