package tracing

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	exampleTrace = "0af7651916cd43dd8448eb211c80319c"
	example      = "00-" + exampleTrace + "-b7ad6b7169203331-01"
)

func TestParentOf(t *testing.T) {
	tests := map[string]struct {
		values  []string
		want    bool
		sampled bool
	}{
		"none":                       {},
		"the example":                {values: []string{example}, want: true, sampled: true},
		"not sampled":                {values: []string{strings.TrimSuffix(example, "1") + "0"}, want: true},
		"other flags":                {values: []string{strings.TrimSuffix(example, "01") + "fe"}, want: true},
		"all flags":                  {values: []string{strings.TrimSuffix(example, "01") + "ff"}, want: true, sampled: true},
		"several":                    {values: []string{example, example}},
		"a version with more":        {values: []string{"01" + example[2:] + "-x"}, want: true, sampled: true},
		"this version with more":     {values: []string{example + "-x"}},
		"a version with more, glued": {values: []string{"01" + example[2:] + "x"}},
		"version ff":                 {values: []string{"ff" + example[2:]}},
		"upper case":                 {values: []string{strings.ToUpper(example)}},
		"no trace":                   {values: []string{"00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01"}},
		"no span":                    {values: []string{"00-" + exampleTrace + "-0000000000000000-01"}},
		"short":                      {values: []string{example[:54]}},
		"other separators":           {values: []string{strings.ReplaceAll(example, "-", "_")}},
		"no digits":                  {values: []string{strings.ReplaceAll(example, "a", "g")}},
		"endless":                    {values: []string{"01" + example[2:] + "-" + strings.Repeat("x", 1000)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, ok := parentOf(http.Header{traceparent: tt.values})
			if ok != tt.want || p.sampled != tt.sampled || ok && p.trace != exampleTrace {
				t.Errorf("%+v, %v", p, ok)
			}
		})
	}
	h := http.Header{traceparent: {example}}
	if n := testing.AllocsPerRun(100, func() { parentOf(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestState(t *testing.T) {
	tests := map[string]struct {
		values []string
		want   string
	}{
		"none":      {},
		"one":       {values: []string{"a=1,b=2"}, want: "a=1,b=2"},
		"not valid": {values: []string{"a=1,,=;"}},
		"too long":  {values: []string{"a=" + strings.Repeat("x", maxState)}},
		"several":   {values: []string{"a=1", "b=2"}},
	}
	for name, tt := range tests {
		h := http.Header{traceparent: {example}, tracestate: tt.values}
		p, _ := parentOf(h)
		if got := p.context(h).TraceState().String(); got != tt.want {
			t.Errorf("%s: %q; want %q", name, got, tt.want)
		}
	}
}

// FuzzParentOf compares with the propagator of OpenTelemetry, which accepts no more than this one reads.
func FuzzParentOf(f *testing.F) {
	f.Add(example)
	f.Add("01" + example[2:] + "-more")
	f.Add("00-" + exampleTrace + "-b7ad6b7169203331-0g")
	f.Fuzz(func(t *testing.T, v string) {
		h := http.Header{traceparent: {v}}
		p, ok := parentOf(h)
		want := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(t.Context(), propagation.HeaderCarrier(h)))
		if !ok {
			return
		}
		got := p.context(h)
		if want.IsValid() && (got.TraceID() != want.TraceID() || got.SpanID() != want.SpanID() || got.IsSampled() != want.IsSampled()) {
			t.Errorf("%q: %v; the library has %v", v, got, want)
		}
		out := http.Header{}
		Inject(out, got)
		if again, ok := parentOf(out); !ok || again != p {
			t.Errorf("%q becomes %q", v, out)
		}
	})
}
