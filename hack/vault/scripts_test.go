package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// fakeKubectl simulates a cluster with a namespace "vault" and a Vault that up.sh did not create. It records its arguments.
const fakeKubectl = `#!/bin/sh
echo "$*" >>"$RECORD"
case "$*" in *"-o name") echo service/vault; echo secret/other ;; esac
`

// TestOthersVault checks that with CLUSTER=existing the scripts do not change a Vault that up.sh did not start.
func TestOthersVault(t *testing.T) {
	for script, tt := range map[string]struct {
		wantErr string
		// mayWrite is in every command that changes objects.
		mayWrite string
	}{
		"up.sh":   {wantErr: "namespace vault has service/vault, which up.sh did not create", mayWrite: "nothing"},
		"down.sh": {mayWrite: "-l postern.dev/vault-of=vault"},
	} {
		t.Run(script, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte(fakeKubectl), 0o700); err != nil {
				t.Fatal(err)
			}
			record := filepath.Join(dir, "record")
			c := exec.CommandContext(t.Context(), "bash", script, "-o", filepath.Join(dir, "out"))
			c.Env = append(os.Environ(), "CLUSTER=existing", "RECORD="+record, "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := c.CombinedOutput()
			if (err != nil) != (tt.wantErr != "") || !strings.Contains(string(out), tt.wantErr) {
				t.Errorf("%v: %s", err, out)
			}
			commands, err := os.ReadFile(record)
			if err != nil {
				t.Fatal(err)
			}
			for command := range strings.Lines(string(commands)) {
				if !strings.HasPrefix(command, "get ") && !strings.Contains(command, tt.mayWrite) {
					t.Errorf("it runs kubectl %s", command)
				}
			}
		})
	}
}
