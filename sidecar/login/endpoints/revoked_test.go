package endpoints

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// known holds what is revoked.
type known struct {
	session, subject string
	err              error
}

func (k *known) Revoked(_ context.Context, q *revocation.Query) (bool, error) {
	session, subject := k.session != "" && q.Session == k.session, k.subject != "" && q.Subject == k.subject
	return q.Issuer == logintest.Issuer && (session || subject && !q.IssuedAt.IsZero()), k.err
}

// TestRefreshOfARevokedSession: no token is issued, also if the session could not be ended. If it is unknown whether the session
// is revoked, the same token works later.
func TestRefreshOfARevokedSession(t *testing.T) {
	tests := map[string]struct {
		// revoked returns what is known about the session.
		revoked func(session.Session) known
		// fail are the store methods that fail.
		fail       []string
		wantStatus int
		wantError  string
		wantEvent  string
		// wantLive means that the session still exists in the store.
		wantLive bool
	}{
		"session revoked": {
			revoked:    func(s session.Session) known { return known{session: s.ID} },
			wantStatus: http.StatusBadRequest, wantError: "invalid_grant", wantEvent: "refresh revoked",
		},
		"subject revoked": {
			revoked:    func(s session.Session) known { return known{subject: s.Subject} },
			wantStatus: http.StatusBadRequest, wantError: "invalid_grant", wantEvent: "refresh revoked",
		},
		"session revoked, ending fails": {
			revoked: func(s session.Session) known { return known{session: s.ID} }, fail: []string{"End"},
			wantStatus: http.StatusBadRequest, wantError: "invalid_grant", wantEvent: "refresh revoked", wantLive: true,
		},
		"another session revoked": {
			revoked:    func(session.Session) known { return known{session: session.NewID(), subject: "eve"} },
			wantStatus: http.StatusOK, wantEvent: "refresh rotated", wantLive: true,
		},
		"revocation unknown": {
			revoked:    func(session.Session) known { return known{err: logintest.ErrUnavailable} },
			wantStatus: http.StatusServiceUnavailable, wantError: "temporarily_unavailable", wantEvent: "refresh unavailable", wantLive: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			revoked := &known{}
			w := logintest.New(t, logintest.Options{Revoked: revoked})
			s := w.Login(t, "a")
			*revoked = tt.revoked(s.Session)
			w.Sessions.Fail(tt.fail...)
			h := chain(t, w, unreached(t))
			a := logintest.Send(t, h, logintest.Post("/auth/refresh", "refresh_token="+logintest.RefreshToken(s)), nil)
			if a.Code != tt.wantStatus || a.Text("error") != tt.wantError || (a.Text("access_token") != "") != (a.Code == http.StatusOK) {
				t.Errorf("status %d, %s", a.Code, a.Body)
			}
			if !slices.Equal(w.Events, []string{tt.wantEvent}) {
				t.Errorf("events %v; want %s", w.Events, tt.wantEvent)
			}
			w.Sessions.Fail()
			if _, err := w.Sessions.Get(t.Context(), s.Session.ID); (err == nil) != tt.wantLive || err != nil && !errors.Is(err, session.ErrEnded) {
				t.Errorf("the session: %v; want it to continue: %v", err, tt.wantLive)
			}
			if tt.wantStatus != http.StatusServiceUnavailable {
				return
			}
			revoked.err = nil
			if a := logintest.Send(t, h, logintest.Post("/auth/refresh", "refresh_token="+logintest.RefreshToken(s)), nil); a.Code != http.StatusOK {
				t.Errorf("later: status %d, %s", a.Code, a.Body)
			}
		})
	}
}
