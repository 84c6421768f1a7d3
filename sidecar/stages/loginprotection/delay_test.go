package loginprotection

import (
	"context"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// TestDelays: delays grow up to a bound, and neither a rule nor a policy in shadow mode, nor a reset, is delayed.
func TestDelays(t *testing.T) {
	tests := map[string]struct {
		kind         Kind
		rule, policy bool
		counter      string
		failures     int
		want         time.Duration
	}{
		"no failures":        {kind: Login, counter: kindAccount},
		"two failures":       {kind: Login, counter: kindAccount, failures: 2, want: firstDelay},
		"four failures":      {kind: Login, counter: kindAccount, failures: 4, want: 4 * firstDelay},
		"many failures":      {kind: Login, counter: kindAccount, failures: 3000, want: maxDelay},
		"a reset":            {kind: PasswordReset, counter: kindAccount, failures: 9},
		"without account":    {kind: Login, counter: kindAddress, failures: 9},
		"the rule shadows":   {kind: Login, counter: kindAccount, failures: 9, rule: true},
		"the policy shadows": {kind: Login, counter: kindAccount, failures: 9, policy: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var slept time.Duration
			g := &guard{delays: make(chan struct{}, 1), cfg: Config{Shadow: tt.rule, Sleep: func(_ context.Context, d time.Duration) { slept += d }}}
			a := &attempt{guard: g, route: &Route{Kind: tt.kind}, info: &request.Info{Shadow: tt.policy}, kinds: []string{tt.counter}}
			if a.slowDown(t.Context(), tt.failures); slept != tt.want {
				t.Errorf("waits %s; want %s", slept, tt.want)
			}
			g.delays <- struct{}{} // as many as allowed wait
			if a.slowDown(t.Context(), tt.failures); slept != tt.want {
				t.Error("waits beside too many others")
			}
		})
	}
}
