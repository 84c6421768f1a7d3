package manifest_test

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/manifest"
)

// example finds the example in the description of a field.
var example = regexp.MustCompile(`[Ff]or example:? (\{.*?\}|\[.*?\])\.( |$)`)

// explained returns the descriptions of the fields of a CRD's spec, which kubectl explain prints, in one line each.
func explained(t *testing.T, plural string) map[string]string {
	t.Helper()
	b, err := os.ReadFile("../../config/crd/bases/postern.dev_" + plural + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	type field struct{ Description, Type string }
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema struct {
						Properties struct {
							Spec struct{ Properties map[string]field }
						}
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(b, &crd); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for name, f := range crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties.Spec.Properties {
		if f.Type == "object" || f.Type == "array" {
			out[name] = strings.Join(strings.Fields(f.Description), " ")
		}
	}
	return out
}

// TestExplainTeaches: kubectl explain shows an example of each section of a policy, and together they are a policy that sidecars can run.
func TestExplainTeaches(t *testing.T) {
	spec := map[string]any{}
	sections := explained(t, "securitypolicies")
	for _, name := range slices.Sorted(maps.Keys(sections)) {
		match := example.FindStringSubmatch(sections[name])
		if match == nil {
			t.Errorf("kubectl explain securitypolicy.spec.%s shows no example (For example: {…}.): %s", name, sections[name])
			continue
		}
		var value any
		if err := yaml.Unmarshal([]byte(match[1]), &value); err != nil {
			t.Errorf("the example of %s: %v", name, err)
		}
		spec[name] = value
	}
	class := map[string]any{}
	for _, name := range []string{"redis", "vault"} {
		match := example.FindStringSubmatch(explained(t, "sidecarclasses")[name])
		var value any
		if match == nil || yaml.Unmarshal([]byte(match[1]), &value) != nil {
			t.Fatalf("kubectl explain sidecarclass.spec.%s shows no example", name)
		}
		class[name] = value
	}
	objects := read(t, "SecurityPolicy", spec, "SidecarClass", class)
	policy, sidecarClass := &objects.Policies[0].SecurityPolicy, &objects.Classes[0].SidecarClass
	if document, findings := compile.Compile(policy, sidecarClass); document == nil || compile.HasErrors(findings) {
		t.Errorf("the examples give no document: %v", findings)
	}
}

// read validates objects as the API server does.
func read(t *testing.T, kindsAndSpecs ...any) manifest.Objects {
	t.Helper()
	var file strings.Builder
	for i := 0; i < len(kindsAndSpecs); i += 2 {
		b, err := yaml.Marshal(map[string]any{
			"apiVersion": "postern.dev/v1alpha1", "kind": kindsAndSpecs[i], "metadata": map[string]any{"name": "example"}, "spec": kindsAndSpecs[i+1],
		})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&file, "---\n%s", b)
	}
	objects, findings, err := manifest.Read(t.Context(), []byte(file.String()))
	if err != nil || len(findings) > 0 {
		t.Fatalf("%v %v in\n%s", err, findings, file.String())
	}
	return objects
}
