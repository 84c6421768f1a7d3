package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"testing"
)

// TestLintRefusesWhatNoSidecarRuns: the specs that were once accepted are refused with the line and the field.
func TestLintRefusesWhatNoSidecarRuns(t *testing.T) {
	content, err := os.ReadFile("../../controllers/compile/testdata/no-sidecar-runs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	refused := regexp.MustCompile(`(?m)^-:[0-9]+: error: SecurityPolicy/orders: spec\.[a-z]`)
	seen := 0
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); seen++ {
		var c struct {
			Case string
			Spec map[string]any
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Case, func(t *testing.T) {
			c.Spec["selector"] = map[string]any{}
			object, err := json.Marshal(map[string]any{
				"apiVersion": "postern.dev/v1alpha1", "kind": "SecurityPolicy", "metadata": map[string]any{"name": "orders", "namespace": "shop"}, "spec": c.Spec,
			})
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := run(t, string(object), "lint", "-f", "-")
			if !errors.Is(err, errFindings) || !refused.MatchString(out) {
				t.Errorf("error %v, output:\n%s", err, out)
			}
		})
	}
	if seen < 30 {
		t.Errorf("found %d cases only", seen)
	}
}
