//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// plugin is the built command, as kubectl finds it.
var plugin = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "kubectl-postern")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/postern").CombinedOutput()
	if err != nil {
		os.Stderr.Write(out)
	}
	return path, err
})

// postern returns the path of the built command. It is also a plugin of kubectl, if its folder is on the PATH.
func postern(t *testing.T) string {
	t.Helper()
	path, err := plugin()
	if err != nil {
		t.Fatalf("building postern: %v", err)
	}
	return path
}
