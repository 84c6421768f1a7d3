package ratelimit

import (
	"fmt"
	"testing"
	"time"
)

func TestRefusals(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := newRefusals(func() time.Time { return now })
	if !r.empty() || r.remaining([]byte("a")) != 0 {
		t.Error("something is remembered at first")
	}
	r.remember("a", time.Minute)
	now = now.Add(59 * time.Second)
	if r.empty() || r.remaining([]byte("a")) != time.Second || r.remaining([]byte("b")) != 0 {
		t.Errorf("a remains for %s, b for %s", r.remaining([]byte("a")), r.remaining([]byte("b")))
	}
	now = now.Add(time.Second)
	if r.remaining([]byte("a")) != 0 {
		t.Error("a is refused past its time")
	}
}

func TestRefusalsAreBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	r := newRefusals(func() time.Time { return now })
	for i := range 3 * maxRefusals {
		r.remember(fmt.Sprint(i), time.Duration(1+i%5)*time.Second)
	}
	if len(r.until) > maxRefusals {
		t.Errorf("%d are remembered", len(r.until))
	}
	now = now.Add(6 * time.Second)
	r.remember("new", time.Second)
	if len(r.until) != 1 || r.remaining([]byte("new")) != time.Second {
		t.Errorf("%d are remembered when all but one have ended", len(r.until))
	}
}
