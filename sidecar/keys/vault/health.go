package vault

import (
	"log/slog"
	"maps"
	"sync"
	"time"
)

// The number of stored denials, and how long each is kept: longer than between two polls of a signing key. A target that is no longer
// used must not affect the state.
const (
	maxDenied = 64
	deniedFor = 2 * time.Minute
)

// denial is the latest denied request for a target.
type denial struct {
	cause *Error
	at    time.Time
}

// health derives one State from the results of requests: first whether Vault responds, then whether the login works, then whether
// requests are allowed.
type health struct {
	now func() time.Time
	log *slog.Logger

	mu      sync.Mutex
	started bool
	server  *Error // why Vault does not respond
	login   *Error // why the login fails
	denied  map[string]denial

	state State
	since time.Time
}

func newHealth(now func() time.Time, log *slog.Logger) *health {
	return &health{now: now, log: log, denied: map[string]denial{}, state: Starting, since: now()}
}

// failed records the failure of a request.
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

// worked records the success of a request.
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

// forget removes the denial of a target that is no longer used.
func (h *health) forget(target string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.denied, target)
	h.settle()
}

// settle stores and logs a change of the state. The caller holds the lock.
func (h *health) settle() {
	state, cause := h.judge()
	if state == h.state {
		return
	}
	previous := h.state
	h.state, h.since = state, h.now()
	if cause != nil {
		h.log.Warn("Vault unavailable", "state", string(state), "previous", string(previous), "error", cause)
		return
	}
	h.log.Info("Vault available", "state", string(state), "previous", string(previous))
}

// judge returns the state and its cause, which is nil for OK and Starting. The caller holds the lock.
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

// precedes orders denials, so that the reported one does not depend on the map order.
func precedes(a, b *Error) bool {
	if (a.State == PermissionDenied) != (b.State == PermissionDenied) {
		return a.State == PermissionDenied
	}
	return a.Target < b.Target
}

// report returns the state, the time of its last change, and its cause.
func (h *health) report() (State, time.Time, *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.settle() // a denial may have expired
	_, cause := h.judge()
	return h.state, h.since, cause
}
