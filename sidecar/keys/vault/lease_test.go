package vault

import (
	"testing"
	"time"
)

func TestLeaseIsRenewedInTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tests := map[string]struct {
		lease    lease
		min, max time.Duration
	}{
		"an hour":      {lease{at: now, grant: grant{ttl: time.Hour}}, 36 * time.Minute, 44 * time.Minute},
		"half an hour": {lease{at: now.Add(-30 * time.Minute), grant: grant{ttl: time.Hour}}, 18 * time.Minute, 22 * time.Minute},
		"a second":     {lease{at: now, grant: grant{ttl: time.Second}}, time.Second, time.Second},
		"over":         {lease{at: now.Add(-time.Hour), grant: grant{ttl: time.Minute}}, 0, 0},
		"no expiry":    {lease{at: now.Add(-1000 * time.Hour)}, 14 * time.Hour, 18 * time.Hour},
	}
	for name, tt := range tests {
		for range 100 {
			if got := tt.lease.due(now, time.Second); got < tt.min || got > tt.max {
				t.Fatalf("%s: %s; want %s to %s", name, got, tt.min, tt.max)
			}
		}
	}
}
