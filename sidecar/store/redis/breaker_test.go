package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/store/redistest"
)

// reply is an error reply from Redis.
type response string

func (a response) Error() string { return string(a) }
func (response) RedisError()     {}

func TestClassify(t *testing.T) {
	tests := map[string]struct {
		err  error
		want outcome
	}{
		"no error":                   {want: answered},
		"no value":                   {err: goredis.Nil, want: answered},
		"no value from the sentinel": {err: fmt.Errorf("asking sentinel: %w", goredis.Nil), want: unavailable},
		"wrong type":                 {err: response("WRONGTYPE Operation against a key"), want: refused},
		"read-only":                  {err: response("READONLY You can't write"), want: notMaster},
		"moved":                      {err: response("MOVED 1 127.0.0.1:1"), want: refused},
		"loading":                    {err: response("LOADING Redis is loading"), want: unavailable},
		"not logged in":              {err: response("NOAUTH Authentication required."), want: unavailable},
		"wrong password":             {err: fmt.Errorf("dialling: %w", response("WRONGPASS")), want: unavailable},
		"too many connections":       {err: response("ERR max number of clients reached"), want: unavailable},
		"no connection":              {err: &net.OpError{Op: "dial", Err: errors.New("refused")}, want: unavailable},
		"timeout":                    {err: context.DeadlineExceeded, want: unavailable},
		"canceled":                   {err: context.Canceled, want: gone},
		"closed":                     {err: goredis.ErrClosed, want: gone},
		"open":                       {err: errOpen, want: unavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := classify(tt.err); got != tt.want {
				t.Errorf("classify(%v) = %d; want %d", tt.err, got, tt.want)
			}
		})
	}
}

// BenchmarkOpenBreaker measures an operation while Redis is unavailable.
func BenchmarkOpenBreaker(b *testing.B) {
	for _, mode := range []Mode{Standalone, Cluster} {
		b.Run(string(mode), func(b *testing.B) {
			m, err := newTestMetrics()
			if err != nil {
				b.Fatal(err)
			}
			conn, err := Open(Config{Mode: mode, Addresses: []string{"127.0.0.1:1"}}, m, discard())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			redistest.Eventually(b, "the breaker to open", func() bool {
				_, err := incr(b.Context(), conn, "k")
				return conn.openGuards() > 0 && errors.Is(err, ErrUnavailable)
			})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := incr(b.Context(), conn, "k"); err == nil {
					b.Fatal("no error")
				}
			}
		})
	}
}
