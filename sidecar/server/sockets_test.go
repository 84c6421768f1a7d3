package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/posterndev/postern/api/compiled"
)

// told records what a sidecar reports.
type told struct{ unredirected []bool }

func (*told) SetProblems([]compiled.Problem)  {}
func (*told) SetReachable([]string)           {}
func (*told) SetCertificatesExpire(time.Time) {}
func (r *told) SetUnredirected(missing bool)  { r.unredirected = append(r.unredirected, missing) }
func (r *told) last() (missing bool, known bool) {
	return r.unredirected[len(r.unredirected)-1], len(r.unredirected) > 0
}

// TestMissingRulesAreReported checks that missing rules are reported at each check, and logged when they go and come.
func TestMissingRulesAreReported(t *testing.T) {
	var log bytes.Buffer
	exposure, err := newExposureMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, exposure: exposure}
	r := &told{}
	for _, exist := range []bool{true, false, false, true} {
		s.reportRules(t.Context(), r, exist)
		if missing, known := r.last(); !known || missing == exist {
			t.Errorf("with rules %t, missing is reported as %t", exist, missing)
		}
		if missing := testutil.ToFloat64(exposure.unredirected) == 1; missing == exist {
			t.Errorf("with rules %t, the metric says that they are missing: %t", exist, missing)
		}
	}
	if n := strings.Count(log.String(), "are missing"); n != 1 {
		t.Errorf("the log says %d times that they are missing: %s", n, &log)
	}
	if n := strings.Count(log.String(), "exist again"); n != 1 {
		t.Errorf("the log says %d times that they exist again: %s", n, &log)
	}
}

// TestReachableIsAMetric: the number of addresses around the sidecar is a metric, which returns to 0.
func TestReachableIsAMetric(t *testing.T) {
	exposure, err := newExposureMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s := &sidecar{exposure: exposure}
	for _, found := range [][]string{{"10.0.0.5:9000", "10.0.0.5:9001"}, nil} {
		if s.setReachable(&told{}, found); testutil.ToFloat64(exposure.reachable) != float64(len(found)) {
			t.Errorf("%v for %q", testutil.ToFloat64(exposure.reachable), found)
		}
	}
}
