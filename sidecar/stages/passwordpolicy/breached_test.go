package passwordpolicy

import (
	"context"
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

type listing int

func (l *listing) Count(context.Context, string) (int, error) {
	*l++
	return 1, nil
}

// TestPasswordsThatAreNotLookedUp: an empty one, which a form sends that leaves the password as it is, and one that is too long anyway.
func TestPasswordsThatAreNotLookedUp(t *testing.T) {
	for text, want := range map[string]int{"": 0, "x": 1, strings.Repeat("x", passwordrules.MaxBytes): 1, strings.Repeat("x", passwordrules.MaxBytes+1): 0} {
		var list listing
		p := &Policy{Config{Breached: &BreachedList{Source: &list, MinCount: 1}}}
		failed, err := p.lookUp(t.Context(), "password", text, func(request.Rule, *httperr.Error) bool { return true })
		if err != nil || len(failed) != want || int(list) != want {
			t.Errorf("%d bytes: %d look-ups, %v, %v; want %d", len(text), list, failed, err, want)
		}
	}
}
