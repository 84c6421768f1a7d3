package server

import (
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	const mib = 1 << 20
	start := time.Unix(1e9, 0)
	type look struct {
		at        time.Duration
		allocated uint64
		want      bool
	}
	tests := map[string][]look{
		"nothing since the start":   {{0, mib, false}, {lookTime, mib, false}},
		"busy":                      {{0, 10 * mib, false}, {lookTime, 20 * mib, false}, {2 * lookTime, 20*mib + quietBytes + 1, false}},
		"quiet after much":          {{0, 10 * mib, false}, {lookTime, 10*mib + quietBytes, true}},
		"little since a collection": {{0, 10 * mib, false}, {lookTime, 10 * mib, true}, {time.Hour, 10*mib + quietBytes, false}},
		"again at once":             {{0, 10 * mib, false}, {lookTime, 10 * mib, true}, {2 * lookTime, 20 * mib, false}, {3 * lookTime, 20 * mib, false}},
		"again after a pause":       {{0, 10 * mib, false}, {lookTime, 10 * mib, true}, {2 * lookTime, 20 * mib, false}, {time.Minute, 20 * mib, true}},
	}
	for name, looks := range tests {
		t.Run(name, func(t *testing.T) {
			q := &quiet{}
			for i, l := range looks {
				got := q.due(l.allocated, start.Add(l.at))
				if got != l.want {
					t.Errorf("look %d: %t", i, got)
				}
				if got {
					q.done(start.Add(l.at), 10*time.Millisecond)
				}
			}
		})
	}
}
