package loopback

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httperr"
	"github.com/posterndev/postern/sidecar/session"
	"github.com/posterndev/postern/sidecar/token"
)

// listAnswer is a subject's sessions, the last seen first.
type listAnswer struct {
	Sessions []token.View `json:"sessions"`
}

// list answers for subjects of our own tokens.
func (a *api) list(w http.ResponseWriter, r *http.Request) error {
	sessions, err := a.Tokens.Desk.List(r.Context(), session.Owner{Subject: r.PathValue("subject")})
	if err != nil {
		return unavailable(err)
	}
	return write(w, listAnswer{Sessions: token.Views(sessions, "")})
}

// endedAnswer says how many sessions there were.
type endedAnswer struct {
	Ended int `json:"ended"`
}

// endAll ends every session of a subject with its tokens.
func (a *api) endAll(w http.ResponseWriter, r *http.Request) error {
	ended, err := a.Tokens.Desk.EndAll(r.Context(), session.Owner{Subject: r.PathValue("subject")}, "")
	if err != nil {
		return unavailable(err)
	}
	return write(w, endedAnswer{Ended: ended})
}

// end ends one session with its tokens; 404 where there is none.
func (a *api) end(w http.ResponseWriter, r *http.Request) error {
	ended, err := a.Tokens.Desk.End(r.Context(), r.PathValue("id"))
	if err != nil {
		return unavailable(err)
	}
	if !ended {
		return &httperr.Error{Status: http.StatusNotFound, Code: "no-session", Detail: "There is no such session."}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
