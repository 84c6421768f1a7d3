package vault

import (
	"context"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// TestCallerDeadline: a call that times out after a long wait marks Vault unreachable; one with a short deadline does not.
func TestCallerDeadline(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		callerWait time.Duration
		want       State
	}{
		"long deadline":  {callerWait: minCallerWait + 100*time.Millisecond, want: Unreachable},
		"short deadline": {callerWait: minCallerWait / 10, want: OK},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := unique("key")
			server.Write(t, "transit/keys/"+key, map[string]any{"type": "ecdsa-p256"})
			link := vaulttest.NewLink(t, server)
			h := open(t, tokenFile(t, "signer"), func(c *Config) { c.Address = link.Address })
			h.await(t, OK)
			link.Slow(5 * time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), tt.callerWait)
			defer cancel()
			if _, err := h.Write(ctx, "transit/sign/"+key+"/sha2-256", map[string]any{"input": "eA=="}); err == nil {
				t.Error("Write succeeded on a slow link")
			}
			if got := h.Status().State; got != tt.want {
				t.Errorf("state = %s; want %s", got, tt.want)
			}
			link.Slow(0)
		})
	}
}
