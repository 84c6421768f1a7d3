package appapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/audit/record"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/token"
)

// revocationRequest selects tokens by exactly one of TokenID, SessionID, Subject and KeyID.
type revocationRequest struct {
	// Issuer defaults to every issuer whose tokens the policy accepts.
	Issuer    string `json:"issuer,omitempty"`
	TokenID   string `json:"token_id,omitempty"`
	SessionID string `json:"session_id,omitempty"`
	Subject   string `json:"subject,omitempty"`
	KeyID     string `json:"key_id,omitempty"`
	// IssuedBefore is for Subject only; it defaults to now.
	IssuedBefore *time.Time `json:"issued_before,omitempty"`
	// Expires is when the last of the tokens expires. The default follows from the policy.
	Expires *time.Time `json:"expires,omitempty"`
}

// revocationResponse has the number of issuers whose tokens were revoked.
type revocationResponse struct {
	Revoked int `json:"revoked"`
}

// revokeAny revokes tokens of any issuer that the policy accepts, and ends their sessions. It refuses with 422 if the request is
// invalid, and with 503 if the store is unavailable.
func (a *api) revokeAny(w http.ResponseWriter, r *http.Request) error {
	var request revocationRequest
	if err := readJSON(r, &request); err != nil {
		return err
	}
	entry, err := request.entry()
	if err != nil {
		return err
	}
	n, err := a.Revoker.Revoke(r.Context(), entry)
	switch {
	case err == nil:
		a.acted(r, record.RevokeAny, request.event(), nil)
		return write(w, revocationResponse{Revoked: n})
	case errors.Is(err, token.ErrUntrusted):
		return unknownIssuer(err)
	case errors.Is(err, revocation.ErrInvalid):
		return &httperr.Error{Status: http.StatusUnprocessableEntity, Code: "invalid-request", Detail: "This cannot be revoked: a text is too long, or a time is out of range.", Cause: err}
	}
	a.acted(r, record.RevokeAny, request.event(), err)
	return unavailable(err)
}

// event returns what is revoked.
func (q revocationRequest) event() event.Event {
	return event.Event{Actor: event.Actor{Issuer: q.Issuer, Subject: q.Subject, Session: q.SessionID, TokenID: q.TokenID}, KeyID: q.KeyID}
}

func unknownIssuer(cause error) error {
	return &httperr.Error{Status: http.StatusUnprocessableEntity, Code: "unknown-issuer", Detail: "The policy accepts no tokens of this issuer.", Cause: cause}
}

func (q revocationRequest) entry() (revocation.Entry, error) {
	e := revocation.Entry{Issuer: q.Issuer}
	named := 0
	for kind, value := range map[revocation.Kind]string{
		revocation.Token: q.TokenID, revocation.Session: q.SessionID, revocation.Subject: q.Subject, revocation.Key: q.KeyID,
	} {
		if value != "" {
			named++
			e.Kind, e.Value = kind, value
		}
	}
	if named != 1 {
		return e, badRequest(http.StatusUnprocessableEntity, "Set exactly one of token_id, session_id, subject and key_id.")
	}
	if q.IssuedBefore != nil {
		if e.Kind != revocation.Subject {
			return e, badRequest(http.StatusUnprocessableEntity, "issued_before requires subject.")
		}
		e.Before = *q.IssuedBefore
	}
	if q.Expires != nil {
		e.Expires = *q.Expires
	}
	return e, nil
}
