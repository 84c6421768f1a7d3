package loginprotection

import (
	"fmt"
	"testing"
	"time"
)

// TestFormsAreBounded: of forms that clients can choose a process keeps maxForms, of which it writes as many to the store, and each once in a
// minute. A general form is never forgotten.
func TestFormsAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	m := newMemories(1)
	a := &attempt{guard: &guard{cfg: Config{Now: func() time.Time { return now }}}}
	if !m.keep(a, "POST-other", &sample{Status: 401}) {
		t.Error("the general form is not written")
	}
	written := 1
	for i := range 3 * maxForms {
		if m.keep(a, fmt.Sprintf("POST-other-%d", i), &sample{Status: 401}) {
			written++
		}
		if m.recall(0, fmt.Sprintf("POST-other-%d", i)) == nil {
			t.Fatalf("form %d is not kept", i)
		}
	}
	if r := &m.routes[0]; written != maxForms || len(r.samples) != maxForms || len(r.written) != maxForms {
		t.Errorf("%d are written, and %d of %d kept; want %d", written, len(r.samples), len(r.written), maxForms)
	}
	if m.recall(0, "POST-other") == nil {
		t.Error("the general form is forgotten")
	}
	if m.keep(a, "POST-other-0", &sample{Status: 401}) {
		t.Error("written again at once")
	}
	now = now.Add(sampleEvery)
	if !m.keep(a, "POST-other-0", &sample{Status: 401}) {
		t.Error("not written again after a minute")
	}
	if m.keep(a, "POST-other", &sample{Status: 403}) || m.recall(0, "POST-other").Status != 401 {
		t.Error("a 403 replaces a 401")
	}
}
