package appapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Locks clears what login protection counts against an account; *loginprotection.Locks implements it.
type Locks interface {
	// Clear reports whether all pods share the state. The error is an *httperr.Error that refuses the name, or that of the store.
	Clear(ctx context.Context, account string) (shared bool, err error)
}

type clearRequest struct {
	// Account is the name as users write it to log in.
	Account string `json:"account"`
}

type clearResponse struct {
	// Shared is false if the other pods count by themselves, because the class has no Redis.
	Shared bool `json:"shared"`
}

// clearLocks responds alike whether the account is locked, open or unknown.
func (a *api) clearLocks(w http.ResponseWriter, r *http.Request) error {
	var request clearRequest
	if err := readJSON(r, &request); err != nil {
		return err
	}
	shared, err := a.Locks.Clear(r.Context(), request.Account)
	if refusal := (*httperr.Error)(nil); errors.As(err, &refusal) {
		return refusal
	}
	a.acted(r, record.ClearLoginLocks, event.Event{Account: a.Stores.Account(request.Account)}, err)
	if err != nil {
		return unavailable(err)
	}
	return write(w, clearResponse{Shared: shared})
}
