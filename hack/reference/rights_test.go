package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// TestRightsAreListed checks that docs/security.md lists exactly the rights of the operator, as they are generated for kustomize and for
// the chart.
func TestRightsAreListed(t *testing.T) {
	want := generatedRights(t, "../../config/rbac/role.yaml")
	got := listedRights(readPage(t, "security.md"))
	if len(want) < 40 {
		t.Fatalf("found %d rights only", len(want))
	}
	for _, right := range want {
		if !slices.Contains(got, right) {
			t.Errorf("docs/security.md does not list the right %q", right)
		}
	}
	for i, right := range got {
		if !slices.Contains(want, right) {
			t.Errorf("docs/security.md lists %q, which the operator may not", right)
		}
		if slices.Contains(got[:i], right) {
			t.Errorf("docs/security.md lists %q twice", right)
		}
	}
}

// generatedRights returns each right as "cluster get pods" or "its namespace get secrets postern-certs".
func generatedRights(t *testing.T, file string) (rights []string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096); ; {
		var role rbacv1.ClusterRole
		if err := decoder.Decode(&role); errors.Is(err, io.EOF) {
			return rights
		} else if err != nil {
			t.Fatal(err)
		}
		where := "its namespace"
		if role.Kind == "ClusterRole" {
			where = "cluster"
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, rightsOf(where, verb, resource, rule.APIGroups[0], rule.ResourceNames)...)
				}
			}
		}
	}
}

func rightsOf(where, verb, resource, group string, names []string) (rights []string) {
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		rights = append(rights, strings.TrimSpace(strings.Join([]string{where, verb, strings.TrimSuffix(resource+"."+group, "."), name}, " ")))
	}
	return rights
}

var (
	rightsRow = regexp.MustCompile(`(?m)^\| (cluster|its namespace) \| ([^|]+) \| ([a-z, ]+) \| [^|]+ \|$`)
	quoted    = regexp.MustCompile("`([^`]+)`")
)

// listedRights reads the table of docs/security.md, in the form of generatedRights.
func listedRights(text string) (rights []string) {
	for _, row := range rightsRow.FindAllStringSubmatch(text, -1) {
		resources, only, _ := strings.Cut(row[2], ", only ")
		resources, group, _ := strings.Cut(resources, " of ")
		for _, resource := range quotedIn(resources) {
			for _, verb := range strings.Split(row[3], ", ") {
				rights = append(rights, rightsOf(row[1], verb, resource, strings.Trim(group, "`"), quotedIn(only))...)
			}
		}
	}
	return rights
}

func quotedIn(text string) (out []string) {
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}
