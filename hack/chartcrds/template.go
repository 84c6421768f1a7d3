package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Lines of the templates. The generated roles have the namespace of config, and the chart has the release's namespace.
const (
	head       = "{{- /* Written by hack/chartcrds: change api/v1alpha1, or the markers in controllers, and run make generate. */ -}}"
	keep       = "    helm.sh/resource-policy: keep"
	labels     = `  labels: {{- include "postern.labels" (dict "root" $ "component" "%s") | nindent 4 }}`
	namespace  = "postern-system"
	inRelease  = "  namespace: {{ .Release.Namespace }}"
	ifInstalls = "{{- if .Values.crds.install }}"
	ifRBAC     = "{{- if .Values.rbac.create }}"
	end        = "{{- end }}"
)

// crdTemplate returns the template of a CRD that an uninstallation keeps.
func crdTemplate(content []byte) ([]byte, error) {
	f, err := parse(content)
	if err != nil {
		return nil, err
	}
	if len(f.metadata) != 1 {
		return nil, fmt.Errorf("%d objects, want 1", len(f.metadata))
	}
	m := f.metadata[0]
	if m.annotations == 0 || m.name == 0 {
		return nil, errors.New("metadata has no name or no annotations")
	}
	f.insert(m.annotations, keep)
	f.insert(m.name, fmt.Sprintf(labels, "crds"))
	return f.render([]string{head, ifInstalls}, end), nil
}

// roleTemplate returns the template of roles in the release's namespace.
func roleTemplate(content []byte) ([]byte, error) {
	f, err := parse(content)
	if err != nil {
		return nil, err
	}
	for _, m := range f.metadata {
		if m.name == 0 {
			return nil, errors.New("metadata has no name")
		}
		f.insert(m.name, fmt.Sprintf(labels, "operator"))
		if m.namespace == 0 {
			continue
		}
		if got := strings.TrimSpace(f.lines[m.namespace-1]); got != "namespace: "+namespace {
			return nil, fmt.Errorf("a role is in %q, not in %s", got, namespace)
		}
		f.lines[m.namespace-1] = inRelease
	}
	return f.render([]string{head, ifRBAC}, end), nil
}

// file is a stream of YAML documents as text, with the line numbers to change. Lines count from 1.
type file struct {
	lines    []string
	metadata []metadata
	// after has the lines to insert after a line.
	after map[int][]string
}

// metadata has the line numbers of the keys of an object's metadata. 0 means that the key is missing.
type metadata struct{ annotations, name, namespace int }

func parse(content []byte) (*file, error) {
	if bytes.Contains(content, []byte("{{")) {
		return nil, errors.New(`it contains "{{", which Helm would take for a template`)
	}
	f := &file{lines: strings.Split(strings.TrimSuffix(string(content), "\n"), "\n"), after: map[int][]string{}}
	for d := yaml.NewDecoder(bytes.NewReader(content)); ; {
		var document yaml.Node
		err := d.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("decoding YAML: %w", err)
		}
		var object *yaml.Node
		if len(document.Content) > 0 {
			object = value(document.Content[0], "metadata")
		}
		if object == nil {
			return nil, errors.New("an object has no metadata")
		}
		f.metadata = append(f.metadata, metadata{
			annotations: line(object, "annotations"), name: line(object, "name"), namespace: line(object, "namespace"),
		})
	}
	if len(f.metadata) == 0 {
		return nil, errors.New("there are no objects")
	}
	return f, nil
}

// value returns the value of a key of a mapping, or nil.
func value(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// line returns the line number of a key of a mapping in block style, or 0.
func line(mapping *yaml.Node, key string) int {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key && mapping.Style&yaml.FlowStyle == 0 {
			return mapping.Content[i].Line
		}
	}
	return 0
}

func (f *file) insert(after int, text string) { f.after[after] = append(f.after[after], text) }

// render returns the file between the lines before and after.
func (f *file) render(before []string, after ...string) []byte {
	out := slices.Clone(before)
	for i, text := range f.lines {
		out = append(append(out, text), f.after[i+1]...)
	}
	return []byte(strings.Join(append(out, after...), "\n") + "\n")
}
