//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// waitLimit is the maximum time for anything on a machine that is also busy with other work.
const waitLimit = 3 * time.Minute

// eventually repeats check until it returns nil, and fails the test with its last error.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
		if t.Context().Err() != nil {
			break
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// measured logs a figure and appends it to the file that E2E_MEASURED names, for people; no test depends on it. A failed test
// records no figure.
func measured(t *testing.T, format string, args ...any) {
	t.Helper()
	if t.Failed() {
		return
	}
	line := fmt.Sprintf(format, args...)
	t.Log(line)
	if err := note(line); err != nil {
		t.Errorf("writing down a figure: %v", err)
	}
}

// note appends a line to the file that E2E_MEASURED names.
func note(line string) error {
	path := os.Getenv("E2E_MEASURED")
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintln(file, line)
	return err
}
