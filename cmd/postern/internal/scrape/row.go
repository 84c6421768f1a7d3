package scrape

import (
	"cmp"
	"slices"
	"strings"
)

// Row is a policy, or a pod of it.
type Row struct {
	Namespace string `json:"namespace"`
	Policy    string `json:"policy"`
	Pod       string `json:"pod,omitempty"`
	// Pods is the number of pods, and Answered of those that answered. Measured is the number of pods in the rates.
	Pods     int `json:"pods"`
	Answered int `json:"answered"`
	Measured int `json:"measured"`
	Figures
	// Error is the reason why a pod did not answer.
	Error string `json:"error,omitempty"`
}

// Rows returns a row for each policy, and in each the sum of its pods; or with byPod a row for each pod. Rows are ordered by requests, the
// most first, and then by name.
func Rows(before, after []Pod, byPod bool) []Row {
	old := map[string]*Pod{}
	for i := range before {
		old[before[i].Namespace+"/"+before[i].Name] = &before[i]
	}
	index := map[string]int{}
	var rows []Row
	for i := range after {
		p := &after[i]
		key := p.Namespace + "/" + p.Policy
		row := Row{Namespace: p.Namespace, Policy: p.Policy}
		if byPod {
			key, row.Pod = key+"/"+p.Name, p.Name
		}
		at, ok := index[key]
		if !ok {
			at = len(rows)
			index[key], rows = at, append(rows, row)
		}
		rows[at].add(old[p.Namespace+"/"+p.Name], p)
	}
	slices.SortStableFunc(rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Policy, b.Policy), strings.Compare(a.Pod, b.Pod))
	})
	return rows
}

// Total returns the sum of the rows.
func Total(rows []Row) Row {
	var t Row
	for i := range rows {
		r := &rows[i]
		t.Pods, t.Answered = t.Pods+r.Pods, t.Answered+r.Answered
		t.sum(&r.Figures, t.Measured == 0, r.Measured > 0)
		t.Measured += r.Measured
	}
	if t.Measured == 0 {
		t.unknown()
	}
	return t
}

func (r *Row) add(before, p *Pod) {
	r.Pods++
	if p.Err != nil {
		r.Error = p.Err.Error()
		if r.Measured == 0 {
			r.unknown()
		}
		return
	}
	r.Answered++
	f := FiguresOf(before, p)
	measured := f.Requests >= 0
	r.sum(&f, r.Measured == 0, measured)
	if measured {
		r.Measured++
	}
	if r.Measured == 0 {
		r.unknown()
	}
}

// sum adds figures. Rates that are not known are left out; first says that there were none before.
func (f *Figures) sum(other *Figures, first, measured bool) {
	for _, r := range rates {
		switch into := r.into(f); {
		case !measured:
		case first:
			*into = *r.into(other)
		default:
			*into += *r.into(other)
		}
	}
	f.InFlight += other.InFlight
	if other.Sessions != nil {
		n := *other.Sessions
		if f.Sessions != nil {
			n += *f.Sessions
		}
		f.Sessions = &n
	}
}

// unknown marks the rates as not known.
func (f *Figures) unknown() {
	for _, r := range rates {
		*r.into(f) = -1
	}
}
