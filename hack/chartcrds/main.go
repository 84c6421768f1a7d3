// Command chartcrds copies what controller-gen writes into the chart: the CRDs, so that upgrades change them and an
// uninstallation keeps them, and the operator's RBAC, so that the chart grants what the markers in the code say and no more.
// `make generate` calls it.
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

// templates is the chart's folder of templates; roles is what controller-gen writes of RBAC.
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

// run writes the templates below root, the module's folder, in place of those that are there.
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

// generate returns the templates by their names below the chart's folder of templates.
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
