package scrape

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Pod is what one sidecar said at one time.
type Pod struct {
	Namespace, Name, Policy string
	At                      time.Time
	Metrics                 Metrics
	// Err is the reason why there are no metrics.
	Err error
}

// Figures are what postern top shows. Rates are per second; a rate of -1 is not known yet, because it needs two reads.
type Figures struct {
	Requests     float64 `json:"requests"`
	ServerErrors float64 `json:"serverErrors"`
	// Refused are requests that the policy refused, and Shadow those that it would have refused.
	Refused      float64 `json:"refused"`
	Shadow       float64 `json:"shadow"`
	FailedLogins float64 `json:"failedLogins"`
	Logins       float64 `json:"logins"`
	// InFlight is the number of open requests.
	InFlight float64 `json:"inFlight"`
	// Sessions is their number if they are in memory. It is nil if they are in Redis, which sidecars do not count.
	Sessions *float64 `json:"sessions,omitempty"`
}

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

// source is where a figure comes from: the sum of a metric's series with these labels.
type source struct {
	name string
	// label has one of the values. An empty label keeps all series. A value ending in * is a prefix.
	label  string
	values []string
}

// rates are the sources of the figures that are rates. Of alternatives, the first that a sidecar has applies: names differ between versions.
var rates = []struct {
	into         func(*Figures) *float64
	alternatives [][]source
}{
	{func(f *Figures) *float64 { return &f.Requests }, [][]source{{{name: "postern_http_requests_total"}}}},
	{func(f *Figures) *float64 { return &f.ServerErrors }, [][]source{{{name: "postern_http_requests_total", label: "code", values: []string{"5*"}}}}},
	{func(f *Figures) *float64 { return &f.Refused }, [][]source{{
		{name: "postern_decisions_total", label: "mode", values: []string{"enforce"}}, {name: "postern_overload_refusals_total"}, {name: "postern_framing_refusals_total"},
	}}},
	{func(f *Figures) *float64 { return &f.Shadow }, [][]source{{{name: "postern_decisions_total", label: "mode", values: []string{"shadow"}}}}},
	{func(f *Figures) *float64 { return &f.FailedLogins }, [][]source{
		{{name: "postern_failed_logins_total"}}, {{name: "postern_login_attempts_total", label: "result", values: []string{"failure", "refused"}}},
	}},
	{func(f *Figures) *float64 { return &f.Logins }, [][]source{{{name: "postern_token_events_total", label: "event", values: []string{"login"}}}}},
}

const (
	inFlight = "postern_http_requests_in_flight"
	sessions = "postern_sessions_memory_sessions"
)

// Wanted reports whether a metric is one that figures come from.
func Wanted(name string) bool {
	if name == inFlight || name == sessions {
		return true
	}
	for _, r := range rates {
		for _, alternative := range r.alternatives {
			if slices.ContainsFunc(alternative, func(s source) bool { return s.name == name }) {
				return true
			}
		}
	}
	return false
}

// FiguresOf returns the figures of a pod from two reads. Without the first one, rates are not known.
func FiguresOf(before, after *Pod) Figures {
	var f Figures
	for _, r := range rates {
		*r.into(&f) = rate(before, after, choose(after.Metrics, r.alternatives))
	}
	f.InFlight = total(after.Metrics[inFlight])
	if s, ok := after.Metrics[sessions]; ok {
		n := total(s)
		f.Sessions = &n
	}
	return f
}

// choose returns the first alternative of which the sidecar has a metric, or else the first.
func choose(m Metrics, alternatives [][]source) []source {
	for _, sources := range alternatives {
		if slices.ContainsFunc(sources, func(s source) bool { return len(m[s.name]) > 0 }) {
			return sources
		}
	}
	return alternatives[0]
}

func total(series []Series) float64 {
	sum := 0.0
	for _, s := range series {
		sum += s.Value
	}
	return sum
}

// rate returns the increase per second. A counter that became smaller was reset, when the process started again: it counts from 0, as in
// Prometheus. A series that is new counts from 0 too, because the process was read before.
func rate(before, after *Pod, sources []source) float64 {
	if before == nil || before.Err != nil || after.Err != nil {
		return -1
	}
	seconds := after.At.Sub(before.At).Seconds()
	if seconds <= 0 {
		return -1
	}
	sum := 0.0
	for _, s := range sources {
		old := map[string]float64{}
		for _, series := range before.Metrics[s.name] {
			old[identity(series.Labels)] = series.Value
		}
		for _, series := range after.Metrics[s.name] {
			if !s.matches(series.Labels) {
				continue
			}
			increase := series.Value - old[identity(series.Labels)]
			if increase < 0 {
				increase = series.Value
			}
			sum += increase
		}
	}
	return sum / seconds
}

func (s source) matches(labels map[string]string) bool {
	return s.label == "" || slices.ContainsFunc(s.values, func(want string) bool {
		if prefix, ok := strings.CutSuffix(want, "*"); ok {
			return strings.HasPrefix(labels[s.label], prefix)
		}
		return labels[s.label] == want
	})
}

// identity returns a text that identifies a series of a metric.
func identity(labels map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(name + "\x00" + labels[name] + "\x00")
	}
	return b.String()
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
