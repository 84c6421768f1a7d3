package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/status"
)

// Sidecar is what a sidecar says on its admin port.
type Sidecar struct {
	Namespace, Pod string
	// Clock compares its clock with that of this machine.
	Clock Clock
	// Values are its metrics without labels.
	Values map[string]float64
	Err    error
}

// report is the report of one sidecar.
type report struct {
	pod string
	compiled.Report
}

func (r report) version() string { return cmp.Or(r.Version, "unknown") }

// reports returns the last reports of all sidecars, and how many have none.
func (f *Facts) reports() (out []report, silent int) {
	for i := range f.Pods.Value {
		pod := &f.Pods.Value[i]
		if _, ok := deliver.BoundPolicy(pod); !ok || status.Inactive(pod) {
			continue
		}
		r, ok := deliver.ReportFrom(pod)
		at, _ := deliver.ConfirmedAt(pod)
		if !ok || f.Now.Sub(at) >= deliver.MaxReportAge {
			silent++
			continue
		}
		out = append(out, report{pod.Namespace + "/" + pod.Name, r})
	}
	return out, silent
}

func sidecars(f *Facts) []Finding {
	if f.Pods.Err != nil {
		return unread(f.Pods.Err, "list pods")
	}
	return append(f.unguarded(), f.reporting()...)
}

// reporting returns what the reports of the sidecars say.
func (f *Facts) reporting() []Finding {
	got, silent := f.reports()
	var out []Finding
	switch {
	case len(got)+silent == 0:
		return fine("no pod has a sidecar")
	case len(got) == 0:
		out = append(out, problem("see the checks operator and network-policies: sidecars poll the operator on port 9444", "none of %s has reported in the last 16 minutes", plural(silent, "sidecar", "sidecars")))
	case silent > 0:
		out = append(out, warning("see the checks operator and network-policies", "%d of %d sidecars have not reported in the last 16 minutes", silent, silent+len(got)).with("postern status -A"))
	}
	versions := map[string]int{}
	for _, r := range got {
		versions[r.version()]++
	}
	var parts []string
	for _, v := range slices.Sorted(keysOf(versions)) {
		parts = append(parts, fmt.Sprintf("%s (%d)", v, versions[v]))
	}
	switch {
	case len(parts) > 1:
		out = append(out, warning("restart the workloads of the older ones: postern status -A names them", "sidecars of several versions run: %s", strings.Join(parts, ", ")))
	case len(out) == 0:
		return fine("%s, of version %s", plural(len(got), "sidecar reports", "sidecars report"), got[0].version())
	}
	return out
}

// unguarded returns a finding if policies select pods that have no sidecar.
func (f *Facts) unguarded() []Finding {
	n, example := 0, ""
	for i := range f.Pods.Value {
		pod := &f.Pods.Value[i]
		_, bound := deliver.BoundPolicy(pod)
		selected := slices.ContainsFunc(f.Policies.Value, func(p v1alpha1.SecurityPolicy) bool {
			return p.Namespace == pod.Namespace && selects(&p.Spec.Selector, pod.Labels)
		})
		if !bound && selected && !status.Inactive(pod) {
			n, example = n+1, cmp.Or(example, pod.Namespace+"/"+pod.Name)
		}
	}
	if n == 0 {
		return nil
	}
	return []Finding{problem("create them again: a pod gets its sidecar when it is created",
		"%s no sidecar, so nothing guards what a policy selects, for example %s", plural(n, "pod has", "pods have"), example).with("postern status -A")}
}

func podClocks(f *Facts) []Finding {
	var out []Finding
	asked := 0
	for i := range f.Sidecars {
		s := &f.Sidecars[i]
		if s.Err != nil {
			continue
		}
		asked++
		if found := skewOf(s.Clock, "pod "+s.Namespace+"/"+s.Pod, "this machine"); found[0].Level != OK {
			out = append(out, found...)
		}
	}
	switch {
	case len(out) > 0:
		return out
	case asked == 0:
		return f.noSidecarAsked()
	}
	return fine("the clocks of %s and of this machine agree", plural(asked, "pod", "pods"))
}

// noSidecarAsked says why no sidecar's admin port was read.
func (f *Facts) noSidecarAsked() []Finding {
	for i := range f.Sidecars {
		return unread(f.Sidecars[i].Err, "get pods/proxy, by which a sidecar's metrics are read")
	}
	return []Finding{{Level: NotChecked, What: "no ready pod has a sidecar that could be asked"}}
}
