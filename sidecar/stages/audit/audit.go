// Package audit refuses requests while the audit trail can take no more records, so that nothing happens that the trail does not have.
//
// The stage must run after the client's address is known, and before everything that changes a state or causes a record: limits,
// authentication, the token endpoints and the app. It refuses with 503. Whether the trail is full is a question of memory: the stage does no
// I/O. A request that has passed it may still be one of the last whose records are dropped, because the trail can become full while the
// request is served.
package audit

import (
	"errors"
	"net/http"
	"net/netip"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Trail is the audit trail of a policy.
type Trail interface {
	// FullFor reports whether records of the client are being dropped, or will be soon. It must not block.
	FullFor(client netip.Addr) bool
}

// Config configures the stage.
type Config struct {
	Trail Trail
	// Shadow is true if refusals are only recorded, and the requests pass.
	Shadow bool
}

// retryAfter is the value of Retry-After in seconds. A trail has room again soon after its sinks do.
const retryAfter = "5"

// New returns the stage.
func New(c Config) (stage.Stage, error) {
	if c.Trail == nil {
		return nil, errors.New("building the audit stage: there is no trail")
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if info := request.From(r); c.Trail.FullFor(info.ClientAddr) {
				if err := info.Refuse(request.Rule{Stage: "audit", Shadow: c.Shadow}, unavailable()); err != nil {
					return err
				}
			}
			return next.ServeHTTP(w, r)
		})
	}, nil
}

func unavailable() *httperr.Error {
	e := &httperr.Error{
		Status: http.StatusServiceUnavailable, Code: "audit-unavailable",
		Detail: "Requests cannot be recorded at the moment. Try again shortly.", Cause: errors.New("the audit trail is full: a sink does not take its records"),
	}
	return e.With("Retry-After", retryAfter)
}
