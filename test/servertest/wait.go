package servertest

import (
	"testing"
	"time"
)

// WaitLimit bounds every wait for a server. A machine that also runs other tests is slow.
const WaitLimit = 30 * time.Second

// Eventually waits until ok returns true. After WaitLimit it fails the test with what.
func Eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(WaitLimit)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("timed out waiting for %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
