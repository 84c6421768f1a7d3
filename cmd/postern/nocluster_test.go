package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestABuildWithoutClustersIsSmall: the demo's first act is to start within a minute, and a client for clusters takes as long to
// compile as all the rest.
func TestABuildWithoutClustersIsSmall(t *testing.T) {
	list := func(args ...string) string {
		out, err := exec.Command("go", append([]string{"list", "-deps"}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	const client = "k8s.io/client-go/rest\n"
	if !strings.Contains(list("."), client) {
		t.Fatalf("the whole command does not import %q: look for another package", client)
	}
	for _, part := range strings.Fields(list("-tags", "nocluster", ".")) {
		for _, not := range []string{"k8s.io/client-go/", "sigs.k8s.io/controller-runtime/"} {
			if strings.HasPrefix(part, not) {
				t.Errorf("a build with -tags nocluster imports %s", part)
			}
		}
	}
}
