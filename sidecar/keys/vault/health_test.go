package vault

import (
	"log/slog"
	"testing"
	"time"
)

func TestHealthOrder(t *testing.T) {
	t.Parallel()
	var c clock
	h := newHealth(c.now, slog.New(slog.DiscardHandler))
	fail := func(target string, s State) { h.failed(target, &Error{State: s, Target: target}) }
	steps := []struct {
		do   func()
		want State
	}{
		{func() {}, Starting},
		{func() { fail(loginTarget, WrongRole) }, WrongRole},
		{func() { fail(loginTarget, Unreachable) }, Unreachable},
		{func() { fail(loginTarget, NoCredentials) }, Unreachable},
		{func() { h.worked(loginTarget) }, OK},
		{func() { fail("b", Refused) }, Refused},
		{func() { fail("c", PermissionDenied) }, PermissionDenied},
		{func() { fail("a", Sealed) }, Sealed},
		{func() { h.worked("a") }, PermissionDenied},
		{func() { h.forget("c") }, Refused},
		{func() { h.worked("b") }, OK},
		{func() { fail("d", PermissionDenied) }, PermissionDenied},
		{func() { c.advance(deniedFor + time.Second) }, OK},
	}
	for i, step := range steps {
		step.do()
		if got, _, _ := h.report(); got != step.want {
			t.Fatalf("step %d: %s; want %s", i, got, step.want)
		}
	}
}
