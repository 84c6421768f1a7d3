package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestNoClusterBuildOmitsClient checks that a build with -tags nocluster does not import a Kubernetes client, which takes as long to
// compile as all other code. The demo's first act must start within a minute.
func TestNoClusterBuildOmitsClient(t *testing.T) {
	list := func(args ...string) string {
		out, err := exec.Command("go", append([]string{"list", "-deps"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	const client = "k8s.io/client-go/rest\n"
	if !strings.Contains(list("."), client) {
		t.Fatalf("the full build does not import %q: choose another package for this check", client)
	}
	for _, part := range strings.Fields(list("-tags", "nocluster", ".")) {
		for _, not := range []string{"k8s.io/client-go/", "sigs.k8s.io/controller-runtime/"} {
			if strings.HasPrefix(part, not) {
				t.Errorf("a build with -tags nocluster imports %s", part)
			}
		}
	}
}
