// Command crddefaults adds the default of each field to the field's description in the CRDs, so that kubectl explain states it. The
// CRDs themselves set no defaults; see api/v1alpha1/defaults.go. `make generate` calls it after controller-gen.
//
//	go run ./hack/crddefaults
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// bases is the folder that controller-gen writes the CRDs to.
const bases = "config/crd/bases"

func main() {
	if err := run(bases, v1alpha1.Defaults()); err != nil {
		fmt.Fprintln(os.Stderr, "crddefaults:", err)
		os.Exit(1)
	}
}

// run rewrites every CRD in folder. It returns an error if a default is of a field that no CRD has.
func run(folder string, defaults []v1alpha1.Default) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return fmt.Errorf("listing CRDs: %w", err)
	}
	left := map[string]string{}
	for _, d := range defaults {
		left[d.Field] = sentence(d)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading CRD: %w", err)
		}
		if content, err = describe(content, left); err != nil {
			return fmt.Errorf("describing defaults of %s: %w", filepath.Base(file), err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return fmt.Errorf("writing CRD: %w", err)
		}
	}
	for field := range left {
		return fmt.Errorf("describing default of %s: no CRD has this field", field)
	}
	return nil
}

// sentence states a default.
func sentence(d v1alpha1.Default) string {
	if d.Text != "" {
		return "Default: " + d.Text + "."
	}
	return "Default: " + d.Value + "."
}

// describe returns the CRD with the sentence of each field, and removes from sentences what it has used.
func describe(content []byte, sentences map[string]string) ([]byte, error) {
	var definition struct {
		Spec struct{ Names struct{ Kind string } }
	}
	var tree map[string]any
	if err := yaml.Unmarshal(content, &definition); err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(content, &tree); err != nil {
		return nil, err
	}
	spec, _ := tree["spec"].(map[string]any)
	versions, _ := spec["versions"].([]any)
	if len(versions) != 1 {
		return nil, fmt.Errorf("there are %d versions, and a default is stated for one", len(versions))
	}
	version, _ := versions[0].(map[string]any)
	root, _ := version["schema"].(map[string]any)
	walk(definition.Spec.Names.Kind, root["openAPIV3Schema"], sentences)
	out, err := yaml.Marshal(tree)
	return append([]byte("---\n"), out...), err
}

// walk describes the field at path and all fields below it.
func walk(path string, node any, sentences map[string]string) {
	schema, ok := node.(map[string]any)
	if !ok {
		return
	}
	if text, ok := sentences[path]; ok {
		description, _ := schema["description"].(string)
		schema["description"] = strings.TrimSpace(description + "\n" + text)
		delete(sentences, path)
	}
	properties, _ := schema["properties"].(map[string]any)
	for name, field := range properties {
		walk(path+"."+name, field, sentences)
	}
	walk(path+"[]", schema["items"], sentences)
}
