package scrape

import (
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
