package main

import (
	"runtime/debug"
	"testing"
)

func TestLimitMemory(t *testing.T) {
	const unchanged = 7 << 30
	for name, tc := range map[string]struct {
		env  map[string]string
		want int64
	}{
		"nine tenths":            {map[string]string{"POSTERN_MEMORY_LIMIT": "268435456"}, 268435456 / 10 * 9},
		"GOMEMLIMIT wins":        {map[string]string{"POSTERN_MEMORY_LIMIT": "268435456", "GOMEMLIMIT": "1GiB"}, unchanged},
		"none":                   {nil, unchanged},
		"zero, without a limit":  {map[string]string{"POSTERN_MEMORY_LIMIT": "0"}, unchanged},
		"negative":               {map[string]string{"POSTERN_MEMORY_LIMIT": "-1"}, unchanged},
		"not a number of bytes":  {map[string]string{"POSTERN_MEMORY_LIMIT": "256Mi"}, unchanged},
		"more than 63 bits hold": {map[string]string{"POSTERN_MEMORY_LIMIT": "9223372036854775808"}, unchanged},
	} {
		t.Run(name, func(t *testing.T) {
			before := debug.SetMemoryLimit(unchanged)
			defer debug.SetMemoryLimit(before)
			limitMemory(func(name string) string { return tc.env[name] })
			if got := debug.SetMemoryLimit(-1); got != tc.want {
				t.Errorf("the limit is %d, want %d", got, tc.want)
			}
		})
	}
}
