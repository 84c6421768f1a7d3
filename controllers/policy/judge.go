package policy

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/status"
)

// verdict is what follows from an observation.
type verdict struct {
	// Intent has the document that should be stored, and says whether it was compiled from the current policy.
	compile.Intent
	// sidecar is the sidecar to inject, and injection is its hash; both are empty if the policy cannot be compiled.
	sidecar   render.Sidecar
	injection string
	pods      []status.Pod
	refused   []status.Refusal
	conflict  *status.Conflict
	// held are the documents that should be stored beside the policy's, for sidecars that cannot read it.
	held []*compiled.Policy
}

// judge is pure: the same observation, settings and time give the same verdict.
func judge(o *observation, settings render.Settings, schema compiled.Schema, now time.Time) *verdict {
	in := compile.Input{Policy: o.policy, Size: o.size, Excess: o.excess, Classes: o.classes, Revocations: o.revocations, Now: now, Schema: schema}
	if o.stored != nil {
		in.Last = o.stored.policy
	}
	v := &verdict{Intent: compile.Intend(in)}
	if v.Valid {
		v.render(o, settings)
	}
	v.judgePods(o, now)
	v.held = hold(o, v.Document, now)
	return v
}

func (v *verdict) render(o *observation, settings render.Settings) {
	v.sidecar = render.Sidecar{
		Policy: v.Document, Class: v.Class, Interception: compile.Interception(o.policy, v.Class), Settings: settings,
	}
	hash, err := render.InjectionHash(v.sidecar)
	if err != nil {
		v.Valid, v.Document = false, nil
		v.Findings = append(v.Findings, compile.Finding{Severity: compile.Error, Field: "spec", Message: fmt.Sprintf("hashing injection: %v", err)})
		return
	}
	v.injection = hash
}

// judgePods adds the pods that the policy's selector matches. A selector that cannot be parsed matches none; Compile reports
// the error.
func (v *verdict) judgePods(o *observation, now time.Time) {
	selector, err := compile.ParseSelector(o.policy)
	if err != nil {
		return
	}
	selection := compile.NewSelection(o.policies)
	for i := range o.pods {
		pod := &o.pods[i]
		if status.Inactive(pod) {
			continue
		}
		if !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		p := status.Pod{Name: pod.Name, Workload: status.WorkloadOf(pod), Governor: selection.Select(pod.Labels).Name}
		p.Bound, _ = deliver.BoundPolicy(pod)
		p.Stale = v.injection != "" && p.Bound != "" && pod.Annotations[render.InjectionAnnotation] != v.injection
		if v.injection != "" && p.Bound == o.policy.Name && !p.Stale {
			p.Altered = v.sidecar.Altered(pod.Spec.InitContainers)
		}
		p.Silent = silent(o, pod, now)
		p.Failing = failing(pod)
		if report, ok := deliver.ReportFrom(pod); ok {
			p.Report = &report
		}
		if p.Governor != o.policy.Name && (v.conflict == nil || strings.Compare(p.Name, v.conflict.Pod) < 0) {
			v.conflict = &status.Conflict{Older: p.Governor, Pod: p.Name}
		}
		v.pods = append(v.pods, p)
	}
	for _, r := range o.refused {
		if selected := selection.Select(r.Labels); selected != nil && selected.Name == o.policy.Name {
			v.refused = append(v.refused, r.Refusal)
		}
	}
}
