package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/posterndev/postern/config/crd"
)

const root = "../.."

// TestChartIsGenerated checks that the chart has exactly the files that `make generate` writes.
func TestChartIsGenerated(t *testing.T) {
	written, err := generate(root, crd.Bases)
	if err != nil {
		t.Fatal(err)
	}
	crds := 0
	for name, want := range written {
		got, err := os.ReadFile(filepath.Join(root, templates, name))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s is outdated: run make generate (%v)", name, err)
		}
		if strings.HasPrefix(name, "crds/") {
			crds++
		}
	}
	if there, err := filepath.Glob(filepath.Join(root, templates, "crds", "*")); err != nil || len(there) != crds {
		t.Errorf("the chart has %d CRDs, config/crd has %d: run make generate (%v)", len(there), crds, err)
	}
}

const object = `---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    a: b
  name: things.postern.dev
spec:
  names:
    name: other
`

const role = `---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: postern-operator
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: postern-operator
  namespace: postern-system
rules: []
`

// TestRun writes into a folder with an older chart.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(roles, role)
	write(templates+"/crds/old.yaml", "old")
	if err := run(dir, fstest.MapFS{"bases/postern.dev_things.yaml": {Data: []byte(object)}}); err != nil {
		t.Fatal(err)
	}
	wantCRD := head + "\n" + `{{- if .Values.crds.install }}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    helm.sh/resource-policy: keep
    a: b
  name: things.postern.dev
  labels: {{- include "postern.labels" (dict "root" $ "component" "crds") | nindent 4 }}
spec:
  names:
    name: other
{{- end }}
`
	wantRole := head + "\n" + `{{- if .Values.rbac.create }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: postern-operator
  labels: {{- include "postern.labels" (dict "root" $ "component" "operator") | nindent 4 }}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: postern-operator
  labels: {{- include "postern.labels" (dict "root" $ "component" "operator") | nindent 4 }}
  namespace: {{ .Release.Namespace }}
rules: []
{{- end }}
`
	for name, want := range map[string]string{"crds/things.yaml": wantCRD, "operator/role.yaml": wantRole} {
		if got, err := os.ReadFile(filepath.Join(dir, templates, name)); err != nil || string(got) != want {
			t.Errorf("%s, %v:\n%s\nwant\n%s", name, err, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, templates, "crds/old.yaml")); !os.IsNotExist(err) {
		t.Errorf("the CRD that is no longer there: %v", err)
	}
}

func TestTemplateErrors(t *testing.T) {
	tests := map[string]struct {
		content string
		make    func([]byte) ([]byte, error)
		want    string
	}{
		"a template":          {object + "# {{ }}\n", crdTemplate, "Helm"},
		"no YAML":             {"a: [", crdTemplate, "decoding YAML"},
		"nothing":             {"", crdTemplate, "no objects"},
		"no metadata":         {"kind: X\n", crdTemplate, "no metadata"},
		"no annotations":      {strings.Replace(object, "  annotations:\n    a: b\n", "", 1), crdTemplate, "no annotations"},
		"two CRDs":            {object + object, crdTemplate, "2 objects"},
		"flow style":          {"metadata: {name: a, annotations: {a: b}}\n", crdTemplate, "no name"},
		"a role elsewhere":    {strings.Replace(role, "postern-system", "default", 1), roleTemplate, "not in postern-system"},
		"a role with no name": {strings.Replace(role, "  name: postern-operator\n", "  labels: {}\n", 1), roleTemplate, "no name"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.make([]byte(tt.content)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v; want an error about %q", err, tt.want)
			}
		})
	}
	if err := run(t.TempDir(), fstest.MapFS{}); err == nil {
		t.Error("no CRD at all is no error")
	}
}

// FuzzTemplates checks that each template contains every line of its source, in order.
func FuzzTemplates(f *testing.F) {
	f.Add(object)
	f.Add(role)
	f.Add("---\n---\n")
	f.Fuzz(func(t *testing.T, content string) {
		made, err := crdTemplate([]byte(content))
		if err != nil {
			return
		}
		rest := strings.Split(string(made), "\n")
		for line := range strings.SplitSeq(strings.TrimSuffix(content, "\n"), "\n") {
			for len(rest) > 0 && rest[0] != line {
				rest = rest[1:]
			}
			if len(rest) == 0 {
				t.Fatalf("%q is missing in %q", line, made)
			}
			rest = rest[1:]
		}
	})
}
