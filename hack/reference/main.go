// Command reference writes the reference of Postern's objects, in Markdown, from the CRDs of this version: every field with
// its type, default, rules and description. `make generate` writes docs/reference.md with it.
//
//	go run ./hack/reference > docs/reference.md
package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/config/crd"
)

func main() {
	if err := write(os.Stdout, crd.Bases); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

// write writes the page about all CRDs in files, in the order of their file names. The output is deterministic.
func write(w io.Writer, files fs.FS) error {
	names, err := fs.Glob(files, "bases/*.yaml")
	if err != nil {
		return fmt.Errorf("listing CRDs: %w", err)
	}
	if len(names) == 0 {
		return fmt.Errorf("listing CRDs: there are none")
	}
	p := page{}
	p.line("# Reference")
	p.paragraph("Every field of Postern's objects. `make generate` generates this page from the CRDs. To change it, change the types in `api/v1alpha1`.")
	p.paragraph("The API server checks the rules that are sentences, and returns the sentence as the error. `postern lint` checks the same rules offline.")
	for _, name := range names {
		definition, err := read(files, name)
		if err != nil {
			return err
		}
		p.kind(definition)
	}
	_, err = io.WriteString(w, p.String())
	return err
}

func read(files fs.FS, name string) (*apiextensionsv1.CustomResourceDefinition, error) {
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("reading CRD: %w", err)
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(content, definition); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", name, err)
	}
	for _, v := range definition.Spec.Versions {
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			return nil, fmt.Errorf("decoding %s: version %s has no schema", name, v.Name)
		}
	}
	return definition, nil
}
