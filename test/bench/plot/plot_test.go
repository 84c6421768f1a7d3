package plot

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"
)

func TestSVG(t *testing.T) {
	for name, tt := range map[string]struct {
		plot Plot
		want []string
		fail bool
	}{
		"no points": {plot: Plot{Title: "none", Lines: []Line{{Name: "a"}}}, fail: true},
		"one point": {plot: Plot{Title: "one", Lines: []Line{{Name: "a", X: []float64{1}, Y: []float64{2}}}}, want: []string{"one", ">a<"}},
		"all zero":  {plot: Plot{Title: "zero", Lines: []Line{{X: []float64{0}, Y: []float64{0}}}}, want: []string{"zero"}},
		"markup in names": {
			plot: Plot{Title: "a<b & c", X: `"x"`, Lines: []Line{{Name: "</svg>", X: []float64{1, 10}, Y: []float64{2, 3}}}},
			want: []string{"a&lt;b &amp; c", "&lt;/svg&gt;"},
		},
		"labels": {
			plot: Plot{Title: "sizes", Lines: []Line{{X: []float64{0, 65536}, Y: []float64{1, 2}, Labels: []string{"0", "64 KiB"}}}},
			want: []string{">64 KiB<"},
		},
		"thousands": {plot: Plot{Lines: []Line{{X: []float64{1, 1000000}, Y: []float64{1, 20000}}}}, want: []string{">1,000,000<", ">20,000<"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.plot.SVG()
			if (err != nil) != tt.fail {
				t.Fatalf("error %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in:\n%s", want, got)
				}
			}
			for d := xml.NewDecoder(strings.NewReader(got)); err == nil; _, err = d.Token() {
			}
			if !tt.fail && err != io.EOF {
				t.Errorf("not XML: %v", err)
			}
			if strings.Contains(got, "NaN") || strings.Contains(got, "Inf") {
				t.Errorf("a coordinate is no number:\n%s", got)
			}
		})
	}
}
