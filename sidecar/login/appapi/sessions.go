package appapi

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/login/session"
)

// listResponse lists a subject's sessions, the most recently used first.
type listResponse struct {
	Sessions []session.Resource `json:"sessions"`
}

// owner returns the owner for the subject in the path. The query can name an external issuer.
func (a *api) owner(r *http.Request) (session.Owner, error) {
	issuer := r.URL.Query().Get("issuer")
	if issuer == "" && a.LoginService == nil {
		return session.Owner{}, badRequest(http.StatusUnprocessableEntity, "The policy issues no tokens. Name the issuer of the subject by ?issuer=.")
	}
	if issuer != "" && (a.Verifier == nil || !a.Verifier.Accepts(issuer)) {
		return session.Owner{}, unknownIssuer(nil)
	}
	return a.SessionManager.Owner(issuer, r.PathValue("subject")), nil
}

// list responds with the sessions of a subject.
func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	owner, err := a.owner(r)
	if err != nil {
		return err
	}
	sessions, err := a.SessionManager.List(r.Context(), owner)
	if err != nil {
		return unavailable(err)
	}
	return write(w, listResponse{Sessions: session.Resources(sessions, "")})
}

// endedResponse has the number of sessions that were ended.
type endedResponse struct {
	Ended int `json:"ended"`
}

// endAll ends all sessions of a subject with their tokens.
func (a *api) endAll(w http.ResponseWriter, r *http.Request) error {
	owner, err := a.owner(r)
	if err != nil {
		return err
	}
	ended, err := a.SessionManager.EndAll(r.Context(), owner, "")
	a.acted(r, record.EndSessions, event.Event{Actor: event.Actor{Issuer: owner.Issuer, Subject: owner.Subject}}, err)
	if err != nil {
		return unavailable(err)
	}
	return write(w, endedResponse{Ended: ended})
}

// end ends one session with its tokens. It responds with 404 if there is none.
func (a *api) end(w http.ResponseWriter, r *http.Request) error {
	ended, err := a.SessionManager.End(r.Context(), r.PathValue("id"))
	if ended || err != nil {
		a.acted(r, record.EndSession, event.Event{Actor: event.Actor{Session: r.PathValue("id")}}, err)
	}
	if err != nil {
		return unavailable(err)
	}
	if !ended {
		return &httperr.Error{Status: http.StatusNotFound, Code: "no-session", Detail: "There is no such session."}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
