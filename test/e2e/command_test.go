//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// pluginDir is the folder of the built command, once a test needs it.
var pluginDir string

// plugin builds the command, with the name under which kubectl finds it.
var plugin = sync.OnceValues(func() (path string, err error) {
	if pluginDir, err = os.MkdirTemp("", "e2e"); err != nil {
		return "", err
	}
	path = filepath.Join(pluginDir, "kubectl-postern")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/postern").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
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
