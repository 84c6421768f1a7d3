package request

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Refusal is why a request was refused before the chain: its head is malformed, or there is no place for it. The chain only writes
// the response, with the policy's headers, and counts and logs it.
type Refusal struct {
	// Stage names what refused, for the log and the metrics.
	Stage string
	Err   *httperr.Error
	// Unlogged leaves the request out of the access log, because the refusals of its kind have a line of their own.
	Unlogged bool
}

type refusalKey struct{}

// Refuse returns r as a request that was refused. No stage after the guard, and no app, gets it.
func Refuse(r *http.Request, why *Refusal) *http.Request { return Set(r, refusalKey{}, why) }

// Refused returns why r was refused before the chain, or nil.
func Refused(r *http.Request) *Refusal {
	why, _ := r.Context().Value(refusalKey{}).(*Refusal)
	return why
}
