package server

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
)

// told records what a sidecar reports.
type told struct{ unredirected []bool }

func (*told) SetProblems([]compiled.Problem) {}
func (*told) SetReachable([]string)          {}
func (r *told) SetUnredirected(missing bool) { r.unredirected = append(r.unredirected, missing) }
func (r *told) last() (missing bool, known bool) {
	return r.unredirected[len(r.unredirected)-1], len(r.unredirected) > 0
}

// TestMissingRulesAreReported checks that missing rules are reported at each check, and logged when they go and come.
func TestMissingRulesAreReported(t *testing.T) {
	var log bytes.Buffer
	s := &sidecar{cfg: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	r := &told{}
	for _, exist := range []bool{true, false, false, true} {
		s.reportRules(t.Context(), r, exist)
		if missing, known := r.last(); !known || missing == exist {
			t.Errorf("with rules %t, missing is reported as %t", exist, missing)
		}
	}
	if n := strings.Count(log.String(), "are missing"); n != 1 {
		t.Errorf("the log says %d times that they are missing: %s", n, &log)
	}
	if n := strings.Count(log.String(), "exist again"); n != 1 {
		t.Errorf("the log says %d times that they exist again: %s", n, &log)
	}
}
