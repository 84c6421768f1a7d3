package deliver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/posterndev/postern/api/compiled"
)

// TestReportsWaitForEachOther checks what becomes of a report while those of other sidecars take all slots: it is stored during the same
// poll when one is free, and does not keep a newer document from its sidecar.
func TestReportsWaitForEachOther(t *testing.T) {
	for name, tc := range map[string]struct {
		then        func(t *testing.T, f *fixture)
		wantCode    int
		wantPatches int32
	}{
		"a slot is free": {func(t *testing.T, f *fixture) {
			release(f.acks.slots)
			eventually(t, "the report is stored", func() bool { return f.patches.Load() == 1 })
			f.cfg.Documents.OnAdd(configMap(signed(t, key, "orders", 2)), false)
		}, http.StatusOK, 1},
		"a new document": {func(t *testing.T, f *fixture) {
			f.cfg.Documents.OnAdd(configMap(signed(t, key, "orders", 2)), false)
		}, http.StatusOK, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, sidecarPod("orders"))
			f.cfg.Hold = time.Hour // the poll ends for no other reason
			for range cap(f.acks.slots) {
				f.acks.slots <- struct{}{}
			}
			first := signed(t, key, "orders", 1)
			f.cfg.Documents.OnAdd(configMap(first), false)
			polled := make(chan *httptest.ResponseRecorder)
			go func() { polled <- f.ask(t, "right", compiled.Report{Hash: first.Hash(), SchemaVersion: 1}) }()
			waitHeld(t, f.Handler, 1)
			tc.then(t, f)
			if w := <-polled; w.Code != tc.wantCode || f.patches.Load() != tc.wantPatches {
				t.Errorf("the response is %d after %d patches, want %d after %d", w.Code, f.patches.Load(), tc.wantCode, tc.wantPatches)
			}
		})
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return is(), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
