package loginprotection

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/event"
)

// Reasons of the events LoginAttempt and ResetRequest. The first four say what the app did: it said that the password is wrong, it refused the
// request for another reason, it had an error, or the exchange ended before its response. With the others the app did not get the request.
const (
	reasonWrongPassword = "wrong_password"
	reasonAppRefused    = "app_refused"
	reasonAppError      = "app_error"
	reasonAborted       = "aborted"
	reasonLocked        = "locked"
	reasonChallenge     = "challenge"
	reasonUnreadable    = "unreadable"
	reasonUnavailable   = "unavailable"
)

// Reasons returns the reasons of the events LoginAttempt and ResetRequest, other than that of a success.
func Reasons() []string {
	return []string{
		reasonWrongPassword, reasonAppRefused, reasonAppError, reasonAborted, reasonLocked, reasonChallenge, reasonUnreadable, reasonUnavailable,
	}
}

// emit emits the event of the attempt, once. In shadow mode the app also gets the requests that are refused here, and what it says about
// them is not an event.
func (a *attempt) emit(outcome event.Outcome, reason string) {
	if a.emitted {
		return
	}
	a.emitted = true
	kind := event.LoginAttempt
	if a.route.Kind == PasswordReset {
		kind = event.ResetRequest
	}
	a.info.Emit(event.Event{Kind: kind, Outcome: outcome, Reason: reason, Account: a.name, Stage: stageName, Rule: a.route.Name})
}

// refused emits the event of an attempt that is refused here.
func (a *attempt) refused(outcome event.Outcome, reason string) {
	if a.cfg.Shadow || a.info.Shadow {
		outcome = event.Shadow
	}
	a.emit(outcome, reason)
}

// ended emits the event of an attempt that the app got. status is that of its response, and 0 if there is none. A request that is no attempt,
// such as one for the page of the login, has no event.
func (a *attempt) ended(r result, status int) {
	switch {
	case r == aborted:
		a.emit(event.Refused, reasonAborted)
	case a.route.Kind == PasswordReset && r == failure: // it is only counted as one
		a.ofReset(status)
	case r == failure:
		a.emit(event.Refused, reasonWrongPassword)
	case r == success:
		a.emit(event.Success, "")
	case status == 0 || status >= http.StatusInternalServerError:
		a.emit(event.Failed, reasonAppError)
	case a.logsIn && status >= http.StatusBadRequest:
		a.emit(event.Refused, reasonAppRefused)
	}
}

func (a *attempt) ofReset(status int) {
	if status >= http.StatusBadRequest {
		a.emit(event.Refused, reasonAppRefused)
		return
	}
	a.emit(event.Success, "")
}
