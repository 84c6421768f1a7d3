package appapi

import (
	"net/http"
	"unicode"
	"unicode/utf8"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// PerformedByHeader names who acts, for the audit trail: the command line sends the name of its Kubernetes user, and an app that of its
// administrator. It grants nothing.
const PerformedByHeader = "Postern-Performed-By"

// maxPerformedBy bounds the value, in bytes.
const maxPerformedBy = 256

// named refuses a request that names who acts in a way that could confuse who reads the trail. It is refused before it does anything.
func named(next stage.Func) stage.Func {
	return func(w http.ResponseWriter, r *http.Request) error {
		if lines := r.Header[PerformedByHeader]; len(lines) > 1 || len(lines) == 1 && !printable(lines[0]) {
			return badRequest(http.StatusBadRequest, "Send "+PerformedByHeader+" once, with up to 256 bytes of printable UTF-8.")
		}
		return next(w, r)
	}
}

func printable(name string) bool {
	if len(name) > maxPerformedBy || !utf8.ValidString(name) {
		return false
	}
	for _, c := range name {
		if !unicode.IsPrint(c) {
			return false
		}
	}
	return true
}

// acted emits what an administrator did. An err means that it failed.
func (a *api) acted(r *http.Request, what string, e event.Event, err error) {
	e.Kind, e.Outcome, e.Reason, e.PerformedBy = event.Admin, event.Success, what, r.Header.Get(PerformedByHeader)
	if err != nil {
		e.Outcome = event.Failed
	}
	request.Emit(r.Context(), a.Events, e)
}
