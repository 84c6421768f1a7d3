package loginprotectionredis

import (
	"context"
	"fmt"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/store/redis"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// TestClockJumps: what Redis stored before its clock was set back makes no lock longer than the longest, and keeps no failure longer than the
// window from then on. After a clock was set forward, locks have ended.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	conn := connect(t, redis.Config{Mode: redis.Standalone, Addresses: []string{server.Addr}})
	s := New(conn)
	at := func(d time.Duration) string { return fmt.Sprint(time.Now().Add(d).UnixMilli()) }
	tests := map[string]struct {
		fields  []any
		allowed bool
	}{
		"a lock, a day back":          {[]any{"u", at(24 * time.Hour), "l", 1}, false},
		"a lock, a day forward":       {[]any{"u", at(-24 * time.Hour), "l", 1}, true},
		"failures, a day back":        {[]any{"t", at(24*time.Hour) + "," + at(24*time.Hour)}, true},
		"failures, a minute back":     {[]any{"t", at(time.Minute) + "," + at(time.Minute)}, false},
		"failures, a day forward":     {[]any{"t", at(-24*time.Hour) + "," + at(-24*time.Hour)}, true},
		"attempts, a day back":        {[]any{"p", at(24*time.Hour) + "," + at(24*time.Hour)}, true},
		"nonsense":                    {[]any{"t", "x,-,1e999", "p", "nan", "u", "x", "l", "x"}, true},
		"a number that is no integer": {[]any{"u", "1e400"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := loginprotection.Counter{Key: "postern:login:{4:shop/shop}:" + name, Limit: 2, Within: time.Hour, LockFor: time.Minute, MaxLock: 5 * time.Minute}
			err := conn.Do(t.Context(), func(ctx context.Context, client goredis.UniversalClient) error {
				return client.HSet(ctx, c.Key, tt.fields...).Err()
			})
			if err != nil {
				t.Fatal(err)
			}
			b, err := s.Begin(t.Context(), []loginprotection.Counter{c})
			if err != nil || b.Allowed != tt.allowed {
				t.Fatalf("%+v, %v; want allowed: %v", b, err, tt.allowed)
			}
			if most := time.Hour + time.Minute; b.Wait > most {
				t.Errorf("it waits %s; want at most %s", b.Wait, most)
			}
			if name == "a lock, a day back" && b.Wait > c.MaxLock {
				t.Errorf("the lock lasts %s; want at most %s", b.Wait, c.MaxLock)
			}
		})
	}
}
