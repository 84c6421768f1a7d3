package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake is a Prometheus that knows one metric. It gives a query_range three points, of which the second is NaN.
func fake(t *testing.T) *prometheus {
	t.Helper()
	start := time.Unix(1_800_000_000, 0)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		metric := `{"namespace":"shop","policy":"orders","reason":"<locked>","code":"200"}`
		switch {
		case strings.Contains(r.FormValue("query"), "$"):
			fmt.Fprint(w, `{"status":"error","error":"a variable has no value"}`)
		case strings.Contains(r.FormValue("query"), "postern_vault"):
			fmt.Fprint(w, `{"status":"success","data":{"result":[]}}`)
		case strings.HasSuffix(r.URL.Path, "/query"):
			fmt.Fprintf(w, `{"status":"success","data":{"result":[{"metric":%s,"value":[1800000060,"1"]}]}}`, metric)
		default:
			fmt.Fprintf(w, `{"status":"success","data":{"result":[{"metric":%s,"values":[[1800000000,"0.25"],[1800000001,"NaN"],[1800000002,"0.5"]]}]}}`, metric)
		}
	}))
	t.Cleanup(server.Close)
	return &prometheus{url: server.URL, start: start, end: start.Add(time.Minute), step: time.Second}
}

// TestDrawing: every panel of the chart's dashboards is drawn, with what its queries return, or with its text for no data.
func TestDrawing(t *testing.T) {
	files, err := filepath.Glob("../../charts/postern/files/dashboards/*.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%q, %v", files, err)
	}
	for _, file := range files {
		var out strings.Builder
		svg, height, err := drawFile(file, "15s", fake(t), &out)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		board, err := load(file, "15s")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range board.Panels {
			if title := strings.ReplaceAll(p.Title, "'", "&#39;"); !strings.Contains(svg, ">"+title+"<") {
				t.Errorf("%s: %q is not drawn", file, p.Title)
			}
			if bottom := header + (p.GridPos.Y+p.GridPos.H)*row; bottom > height {
				t.Errorf("%s: %q ends at %d, and the picture at %d", file, p.Title, bottom, height)
			}
		}
		if d := xml.NewDecoder(strings.NewReader(svg)); d != nil {
			for err = error(nil); err == nil; _, err = d.Token() {
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("%s: not XML: %v", file, err)
			}
		}
		if !strings.Contains(svg, "not a screenshot of Grafana") {
			t.Errorf("%s: the picture does not say what it is", file)
		}
		if strings.Contains(file, "overview") && !strings.Contains(out.String(), `"Age of secrets" has no data`) {
			t.Errorf("%s: %q", file, out.String())
		}
	}
}

func TestTrace(t *testing.T) {
	s := series{times: []float64{0, 1, 2, 3, 9}, values: []float64{1, 2, math.NaN(), 3, 4}}
	same := func(v float64) float64 { return v }
	if got, want := trace(&s, time.Second, same, same), "M0.0 1.0L1.0 2.0M3.0 3.0M8.0 4.0h2"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
}

func TestUnits(t *testing.T) {
	for _, tt := range []struct {
		value      float64
		unit, want string
	}{
		{0.00042, "s", "420 µs"}, {0.0123, "s", "12.3 ms"}, {90, "s", "90 s"}, {600, "s", "10 min"}, {90 * 86400, "s", "90 days"}, {0, "s", "0 s"},
		{0.256, "percentunit", "25.6 %"}, {1236.4, "reqps", "1236 req/s"}, {12345, "short", "12.3 k"}, {2e6, "short", "2 M"}, {math.NaN(), "s", "–"}, {math.Inf(1), "short", "∞"},
		{1.8e12, "dateTimeAsIso", "2027-01-15 08:00:00"}, {3, "", "3"},
	} {
		if got := format(tt.value, tt.unit); got != tt.want {
			t.Errorf("%v %s: %q; want %q", tt.value, tt.unit, got, tt.want)
		}
	}
}

func TestTicks(t *testing.T) {
	for want, limits := range map[string][2]float64{"[0 5 10 15 20]": {0, 17}, "[0 0.5 1]": {0, 0}, "[0.2 0.3 0.4 0.5]": {0.21, 0.48}} {
		if got := fmt.Sprintf("%.3g", ticks(limits[0], limits[1], 4)); got != want {
			t.Errorf("%v: %s; want %s", limits, got, want)
		}
	}
}

func TestLegend(t *testing.T) {
	one := target{LegendFormat: "{{stage}}/{{rule}} {{mode}}"}
	if got := one.legend(map[string]string{"stage": "authn", "mode": "enforce"}); got != "authn/ enforce" {
		t.Errorf("%q", got)
	}
}
