// Package scrape reads the metrics of sidecars and computes rates from two samples. It is pure. Metrics come from pods, which may be hostile:
// they are bounded, and names in them are not trusted.
package scrape

import (
	"bytes"
	"fmt"
	"math"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Series is a value and its labels.
type Series struct {
	Labels map[string]string
	Value  float64
	// Counter says that the value only increases, except when the process starts again.
	Counter bool
}

// Metrics are the series of a process, by the metric's name. Histograms are left out.
type Metrics map[string][]Series

// Parse reads the text format of Prometheus. Only metrics for which keep is true are kept; nil keeps all.
func Parse(text []byte, keep func(name string) bool) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	out := Metrics{}
	for name, family := range families {
		if keep != nil && !keep(name) {
			continue
		}
		for _, m := range family.GetMetric() {
			if s, ok := seriesOf(family.GetType(), m); ok {
				out[name] = append(out[name], s)
			}
		}
	}
	return out, nil
}

func seriesOf(kind dto.MetricType, m *dto.Metric) (Series, bool) {
	s := Series{Labels: map[string]string{}}
	switch kind {
	case dto.MetricType_COUNTER:
		s.Value, s.Counter = m.GetCounter().GetValue(), true
	case dto.MetricType_GAUGE:
		s.Value = m.GetGauge().GetValue()
	case dto.MetricType_UNTYPED:
		s.Value = m.GetUntyped().GetValue()
	default:
		return s, false
	}
	if math.IsNaN(s.Value) || s.Counter && (s.Value < 0 || math.IsInf(s.Value, 0)) {
		return s, false
	}
	for _, l := range m.GetLabel() {
		s.Labels[l.GetName()] = l.GetValue()
	}
	return s, true
}

// Totals returns the sum of each metric's series.
func Totals(text []byte) (map[string]float64, error) {
	metrics, err := Parse(text, nil)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for name, series := range metrics {
		for _, s := range series {
			out[name] += s.Value
		}
	}
	return out, nil
}
