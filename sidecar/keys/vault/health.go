package vault

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Refused targets are remembered up to a number, and for a time that is longer than between two polls of a signing key:
// what nobody asks for any more must not be held against Vault.
const (
	maxDenied = 64
	deniedFor = 2 * time.Minute
)

// denial is a target's latest refusal.
type denial struct {
	cause *Error
	at    time.Time
}

// health makes one State of what requests meet: first whether Vault answers at all, then whether it lets the client in,
// then whether it gives what was asked for.
type health struct {
	now func() time.Time
	log *slog.Logger

	mu      sync.Mutex
	started bool
	server  *Error // why Vault does not answer
	login   *Error // why it does not let in
	denied  map[string]denial

	state State
	since time.Time
}

func newHealth(now func() time.Time, log *slog.Logger) *health {
	return &health{now: now, log: log, denied: map[string]denial{}, state: Starting, since: now()}
}

// failed takes note of a request's failure.
func (h *health) failed(target string, e *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e.State {
	case Sealed, Unreachable, Untrusted, Throttled:
		h.server = e
	case NoCredentials:
		h.login = e
	default:
		h.server = nil
		if target == loginTarget {
			h.login = e
		} else if _, known := h.denied[target]; known || len(h.denied) < maxDenied {
			h.denied[target] = denial{cause: e, at: h.now()}
		}
	}
	h.settle()
}

// worked takes note of a request's success.
func (h *health) worked(target string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.server = nil
	if target == loginTarget {
		h.login, h.started = nil, true
	}
	delete(h.denied, target)
	h.settle()
}

// forget drops what is known of a target that nobody asks for any more.
func (h *health) forget(target string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.denied, target)
	h.settle()
}

// settle takes over and logs a change of the state. The lock is held.
func (h *health) settle() {
	state, cause := h.judge()
	if state == h.state {
		return
	}
	previous := h.state
	h.state, h.since = state, h.now()
	if cause != nil {
		h.log.Warn("Vault does not serve", "state", string(state), "previous", string(previous), "error", cause)
		return
	}
	h.log.Info("Vault serves", "state", string(state), "previous", string(previous))
}

// judge returns the state and its cause, which is nil for OK and Starting. The lock is held.
func (h *health) judge() (State, *Error) {
	switch {
	case h.server != nil:
		return h.server.State, h.server
	case h.login != nil:
		return h.login.State, h.login
	case !h.started:
		return Starting, nil
	}
	now := h.now()
	maps.DeleteFunc(h.denied, func(_ string, d denial) bool { return now.Sub(d.at) > deniedFor })
	var worst *Error
	for _, d := range h.denied {
		if worst == nil || precedes(d.cause, worst) {
			worst = d.cause
		}
	}
	if worst == nil {
		return OK, nil
	}
	return worst.State, worst
}

// precedes makes the choice between several denials independent of the order of a map.
func precedes(a, b *Error) bool {
	if (a.State == PermissionDenied) != (b.State == PermissionDenied) {
		return a.State == PermissionDenied
	}
	return a.Target < b.Target
}

// report returns the state, since when it holds, and its cause.
func (h *health) report() (State, time.Time, *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle() // a denial may have aged
	_, cause := h.judge()
	return h.state, h.since, cause
}
