// Command chartcrds copies the output of controller-gen into the chart: the CRDs, as templates that an upgrade changes and an
// uninstallation keeps, and the operator's RBAC rules, so that the chart grants exactly what the markers in the code say.
// `make generate` runs it.
//
//	go run ./hack/chartcrds
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/posterndev/postern/config/crd"
)

// templates is the chart's folder of templates. roles is the RBAC file of controller-gen.
const (
	templates = "charts/postern/templates"
	roles     = "config/rbac/role.yaml"
)

func main() {
	if err := run(".", crd.Bases); err != nil {
		fmt.Fprintln(os.Stderr, "chartcrds:", err)
		os.Exit(1)
	}
}

// run replaces the templates below root, which is the module's folder.
func run(root string, crds fs.FS) error {
	written, err := generate(root, crds)
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(root, templates, "crds", "*.yaml"))
	if err != nil {
		return fmt.Errorf("listing templates: %w", err)
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return fmt.Errorf("removing template: %w", err)
		}
	}
	for name, content := range written {
		file := filepath.Join(root, templates, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644)); err != nil {
			return fmt.Errorf("writing template: %w", err)
		}
	}
	return nil
}

// generate returns the templates by their path in the chart's folder of templates.
func generate(root string, crds fs.FS) (map[string][]byte, error) {
	names, err := fs.Glob(crds, "bases/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("listing CRDs: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("listing CRDs: there are none")
	}
	written := map[string][]byte{}
	for _, name := range names {
		content, err := fs.ReadFile(crds, name)
		if err != nil {
			return nil, fmt.Errorf("reading CRD: %w", err)
		}
		_, resource, _ := strings.Cut(path.Base(name), "_")
		if written["crds/"+resource], err = crdTemplate(content); err != nil {
			return nil, fmt.Errorf("making a template of %s: %w", name, err)
		}
	}
	content, err := os.ReadFile(filepath.Join(root, roles))
	if err != nil {
		return nil, fmt.Errorf("reading roles: %w", err)
	}
	if written["operator/role.yaml"], err = roleTemplate(content); err != nil {
		return nil, fmt.Errorf("making a template of %s: %w", roles, err)
	}
	return written, nil
}
