package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/gate"
	"github.com/posterndev/postern/controllers/index"
	"github.com/posterndev/postern/controllers/inject"
	"github.com/posterndev/postern/controllers/validate"
)

var counterName = regexp.MustCompile(`NewCounterVec\(prometheus\.CounterOpts\{\s*Name:\s*"([^"]+)"`)

// TestCountersOfTheOperatorStartAtZero: increase() does not count the event that creates a series, so each counter of the operator has
// its series before the first event. The counters are those that the source of the controllers names.
func TestCountersOfTheOperatorStartAtZero(t *testing.T) {
	r := prometheus.NewRegistry()
	scheme := runtime.NewScheme()
	_, err1 := deliver.NewHandler(deliver.Config{Client: fake.NewClientBuilder().WithScheme(scheme).Build(), Registerer: r})
	_, err2 := gate.New(r)
	_, err3 := index.New(index.Config{Registerer: r})
	_, err4 := inject.NewHandler(inject.Config{Scheme: scheme, Registerer: r})
	_, err5 := validate.NewHandler(validate.Config{Scheme: scheme, Registerer: r})
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			t.Fatal(err)
		}
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
	}
	names := countersIn(t, "../controllers")
	if len(names) < 5 {
		t.Fatalf("found %v only", names)
	}
	for _, name := range names {
		if series[name] == 0 {
			t.Errorf("%s has no series before its first event", name)
		}
	}
	if got := series["postern_operator_polls_total"]; got != 10 {
		t.Errorf("postern_operator_polls_total has %d series", got)
	}
}

// countersIn returns the names of the counters with labels in the Go files of a folder.
func countersIn(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		content, err := os.ReadFile(path)
		for _, m := range counterName.FindAllStringSubmatch(string(content), -1) {
			names = append(names, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
