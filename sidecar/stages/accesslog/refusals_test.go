package accesslog

import (
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// TestEveryRefusalIsCounted: a decision becomes an event of a kind that depends on its stage, and postern_decisions_total has all of them.
func TestEveryRefusalIsCounted(t *testing.T) {
	for _, stage := range []string{"authz", "ratelimit", "password-policy", "login-protection", "guard"} {
		if kind := (event.Decision{Stage: stage}).Event().Kind; !(metricsSink{}).Kinds().Has(kind) {
			t.Errorf("a refusal of %s, an event of the kind %s, is not counted", stage, kind)
		}
	}
}
