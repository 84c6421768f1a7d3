package resources

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/jwks"
)

func TestKeyProblems(t *testing.T) {
	long := strings.Repeat("é", 1000)
	got := keyProblems([]jwks.Status{
		{Provider: "good", Ready: true}, {Provider: "stale", Ready: true, Err: "status 500"}, {Provider: "new"},
		{Provider: "a", Err: long}, {Provider: "b", Err: "x"}, {Provider: "c", Err: "x"}, {Provider: "d", Err: "x"},
	})
	if len(got) != compiled.MaxKeyProblems || got[0] != (compiled.Problem{Reason: "Unavailable", Message: "new: the keys were not loaded yet"}) {
		t.Errorf("got %+v", got)
	}
	for _, p := range got {
		if p.Reason != "Unavailable" || len(p.Message) > maxKeyMessage {
			t.Errorf("got %+v", p)
		}
	}
	if got := keyProblems([]jwks.Status{{Provider: "stale", Ready: true, Err: "status 500"}}); len(got) != 1 || got[0].Reason != "RefreshFails" {
		t.Errorf("got %+v", got)
	}
}
