package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

// TestLintWithoutObjects: a file in which nothing was checked does not pass, also beside a file that is good.
func TestLintWithoutObjects(t *testing.T) {
	const other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	for name, file := range map[string]string{
		"empty": "", "separators": "---\n---\n", "a comment": "# later\n", "another kind": other,
		"another version": "apiVersion: postern.example/v1\nkind: SecurityPolicy\nmetadata: {name: a}\nspec: {selector: {}}\n",
		"an empty list":   "apiVersion: v1\nkind: List\nitems: []\n",
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, file, "lint", "-f", "-", "-f", sample)
			if !errors.Is(err, errNoObjects) || !strings.Contains(err.Error(), "-: no objects found") || strings.Contains(out, "-: ") {
				t.Errorf("error %v, output:\n%s", err, out)
			}
			if !strings.Contains(out, sample+": 1 policy is valid") {
				t.Errorf("the other file is not checked:\n%s", out)
			}
		})
	}
	// Findings in another file do not hide the message.
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte(changed(t, "5/minute", "5/fortnight")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, "", "lint", "-f", "-", "-f", bad); !errors.Is(err, errNoObjects) || errors.Is(err, errFindings) {
		t.Errorf("beside findings: error %v", err)
	}
}
