package differential

import (
	"sync"
	"testing"
)

// A difference is what the sidecar does differently on purpose. erase changes both outcomes so that this difference is gone, and returns true
// if there was one.
type difference struct {
	name, reason string
	erase        func(c *testCase, old, new *outcome) bool
}

// differences is the complete list.
var differences = []difference{}

// use counts how often each difference occurred.
type use struct {
	mu    sync.Mutex
	times map[string]int
}

func newUse() *use { return &use{times: map[string]int{}} }

// apply erases the known differences of a case.
func (u *use) apply(c *testCase, old, new *outcome) {
	for _, d := range differences {
		if d.erase(c, old, new) {
			u.mu.Lock()
			u.times[d.name]++
			u.mu.Unlock()
		}
	}
}

// check fails for each difference that no longer occurs.
func (u *use) check(t *testing.T) {
	t.Helper()
	for _, d := range differences {
		t.Logf("%s: %d times", d.name, u.times[d.name])
		if u.times[d.name] == 0 {
			t.Errorf("the difference %q no longer occurs: remove it from the list", d.name)
		}
	}
}
