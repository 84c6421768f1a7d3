package appapi

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/login/session"
)

// listAnswer is a subject's sessions, the last seen first.
type listAnswer struct {
	Sessions []session.Resource `json:"sessions"`
}

// owner is the subject of the path: of our own tokens, or of the issuer that the query names.
func (a *api) owner(r *http.Request) (session.Owner, error) {
	issuer := r.URL.Query().Get("issuer")
	if issuer == "" && a.LoginService == nil {
		return session.Owner{}, badRequest(http.StatusUnprocessableEntity, "The policy issues no tokens; say by ?issuer= whose subject it is.")
	}
	if issuer != "" && (a.Verifier == nil || !a.Verifier.Accepts(issuer)) {
		return session.Owner{}, unknownIssuer(nil)
	}
	return a.SessionManager.Owner(issuer, r.PathValue("subject")), nil
}

// list answers with what is kept of a subject.
func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	owner, err := a.owner(r)
	if err != nil {
		return err
	}
	sessions, err := a.SessionManager.List(r.Context(), owner)
	if err != nil {
		return unavailable(err)
	}
	return write(w, listAnswer{Sessions: session.Resources(sessions, "")})
}

// endedAnswer says how many sessions there were.
type endedAnswer struct {
	Ended int `json:"ended"`
}

// endAll ends every session of a subject with its tokens.
func (a *api) endAll(w http.ResponseWriter, r *http.Request) error {
	owner, err := a.owner(r)
	if err != nil {
		return err
	}
	ended, err := a.SessionManager.EndAll(r.Context(), owner, "")
	if err != nil {
		return unavailable(err)
	}
	return write(w, endedAnswer{Ended: ended})
}

// end ends one session with its tokens; 404 where there is none.
func (a *api) end(w http.ResponseWriter, r *http.Request) error {
	ended, err := a.SessionManager.End(r.Context(), r.PathValue("id"))
	if err != nil {
		return unavailable(err)
	}
	if !ended {
		return &httperr.Error{Status: http.StatusNotFound, Code: "no-session", Detail: "There is no such session."}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
