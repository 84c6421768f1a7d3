package deliver

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestPolls(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPolls(3, func() time.Time { return now })
	enter := func(pod types.UID, want error) {
		t.Helper()
		if err := p.enter(pod); !errors.Is(err, want) {
			t.Errorf("pod %s: the error is %v, want %v", pod, err, want)
		}
	}
	enter("a", nil)
	enter("a", nil)
	enter("a", errTooManyPolls)
	enter("b", nil)
	enter("c", errFull)
	p.leave("a")
	enter("c", nil)
	p.leave("c")
	p.leave("b")
	p.leave("a")
	if p.held != 0 {
		t.Errorf("%d polls are held", p.held)
	}
}

func TestPollsTooOften(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPolls(10, func() time.Time { return now })
	poll := func() error {
		err := p.enter("a")
		if err == nil {
			p.leave("a")
		}
		return err
	}
	for i := range pollBurst {
		if err := poll(); err != nil {
			t.Fatalf("poll %d: %v", i, err)
		}
	}
	if err := poll(); !errors.Is(err, errTooManyPolls) {
		t.Errorf("beyond the burst: %v", err)
	}
	now = now.Add(pollInterval)
	if err := poll(); err != nil {
		t.Errorf("after the interval: %v", err)
	}
}

func TestPollsForgetPods(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPolls(2, func() time.Time { return now })
	for i := range 4 {
		if err := p.enter(types.UID(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		p.leave(types.UID(fmt.Sprint(i)))
	}
	if err := p.enter("new"); !errors.Is(err, errFull) {
		t.Errorf("with the maximum of polls: %v", err)
	}
	now = now.Add(time.Minute)
	if err := p.enter("new"); err != nil || len(p.pods) != 1 {
		t.Errorf("after a while: %v, %d pods are remembered", err, len(p.pods))
	}
}
