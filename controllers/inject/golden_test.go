package inject

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden injects testdata/<name>.in.yaml and compares the result with <name>.out.yaml, which `go test -update` writes. Files with
// "takeover" in their names are injected with Takeover.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			interception := v1alpha1.InterceptRedirect
			if strings.Contains(file, "takeover") {
				interception = v1alpha1.InterceptTakeover
			}
			got, err := yaml.Marshal(mustInject(t, input(readPod(t, file), interception)))
			if err != nil {
				t.Fatal(err)
			}
			compareGolden(t, strings.Replace(file, ".in.", ".out.", 1), got)
		})
	}
}

func readPod(t *testing.T, file string) *corev1.Pod {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict(b, pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; check the change and run go test -update. Got:\n%s", file, got)
	}
}
