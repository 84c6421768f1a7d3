package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
)

// foreign is an external session, identified by the claim sid.
func foreign(sid string, l session.Limits) session.New {
	return session.New{
		ID: session.ExternalID(Issuer, sid), Owner: session.Owner{Issuer: Issuer, Subject: "ada"}, Device: phone, Limits: l,
	}
}

func (u *user) wantAdmit(n session.New, want error) (session.Session, []string) {
	u.Helper()
	u.Advance(time.Millisecond)
	s, evicted, err := u.Admit(context.Background(), n, time.Minute)
	if !errors.Is(err, want) {
		u.Fatalf("admitting: %v; want %v", err, want)
	}
	return s, evicted
}

func external(t *testing.T, u *user) {
	n := foreign("s1", limits(2, session.Reject))
	first, _ := u.wantAdmit(n, nil)
	if !first.External || first.Owner != n.Owner || first.Device != phone {
		t.Errorf("admitted %+v", first)
	}
	u.Advance(30 * time.Second)
	again, _ := u.wantAdmit(n, nil)
	if !again.LastSeen.Equal(first.LastSeen) {
		t.Error("the second touch was not coalesced")
	}
	u.Advance(30 * time.Second)
	if again, _ = u.wantAdmit(n, nil); again.LastSeen.Equal(first.LastSeen) || !again.Created.Equal(first.Created) {
		t.Errorf("seen again: %+v", again)
	}
	if got := u.ids(n.Owner); !slices.Equal(got, []string{n.ID}) {
		t.Errorf("listed %v", got)
	}
}

// staysEnded: a token that is still used after its session ended does not start the session again.
func staysEnded(t *testing.T, u *user) {
	ways := map[string]func(n session.New){
		"idle":      func(session.New) { u.Advance(time.Hour) },
		"ended":     func(n session.New) { _, _ = u.End(t.Context(), n.ID) },
		"all ended": func(n session.New) { _, _ = u.EndAll(t.Context(), n.Owner, "") },
	}
	for name, way := range ways {
		n := foreign(name, limits(0, session.Reject))
		u.wantAdmit(n, nil)
		way(n)
		for range 5 {
			u.wantAdmit(n, session.ErrEnded)
			u.wantLive(n.ID, false)
			u.Advance(23 * time.Hour)
		}
		if ended, err := u.End(t.Context(), n.ID); ended || err != nil {
			t.Errorf("%s: ended again: %v, %v", name, ended, err)
		}
		u.Advance(2 * time.Hour)
		u.wantAdmit(n, nil) // forgotten: the token was not used for the absolute timeout
	}
}

func newLogin(_ *testing.T, u *user) {
	n := foreign("s1", limits(0, session.Reject))
	s, _ := u.wantAdmit(n, nil)
	u.Advance(2 * time.Hour)
	n.Authenticated = s.IdleExpiry
	u.wantAdmit(n, session.ErrEnded)
	n.Authenticated = s.IdleExpiry.Add(time.Second)
	u.wantAdmit(n, nil)
	if got := u.ids(n.Owner); !slices.Equal(got, []string{n.ID}) {
		u.Errorf("listed %v", got)
	}
}

func externalCap(_ *testing.T, u *user) {
	first, second, third := foreign("s1", limits(2, session.EvictOldest)), foreign("s2", limits(2, session.EvictOldest)), foreign("s3", limits(2, session.EvictOldest))
	u.wantAdmit(first, nil)
	u.wantAdmit(second, nil)
	if _, evicted := u.wantAdmit(third, nil); !slices.Equal(evicted, []string{first.ID}) {
		u.Errorf("evicted %v", evicted)
	}
	u.wantAdmit(first, session.ErrEnded)
	u.wantAdmit(second, nil)
	u.wantAdmit(foreign("s4", limits(2, session.Reject)), session.ErrFull)
	// A new login that is rejected does not reactivate the evicted session.
	first.WhenFull, first.Authenticated = session.Reject, time.Now().AddDate(50, 0, 0)
	u.wantAdmit(first, session.ErrFull)
	first.WhenFull, first.Authenticated = session.EvictOldest, time.Time{}
	u.wantAdmit(first, session.ErrEnded)
}

func noRefresh(_ *testing.T, u *user) {
	n := foreign("s1", limits(0, session.Reject))
	u.wantAdmit(n, nil)
	u.wantOutcome(session.NewRefresh(n.ID), session.OutcomeUnknown)
	u.wantLive(n.ID, true)
}

// endedBounded: one person who logs in at the external issuer again and again does not fill the store. Of the ended sessions
// only the latest are remembered.
func endedBounded(_ *testing.T, u *user) {
	one := limits(1, session.EvictOldest)
	for n := range session.MaxEnded + 2 { // the last one continues
		u.wantAdmit(foreign(fmt.Sprint("evicted", n), one), nil)
	}
	u.wantAdmit(foreign(fmt.Sprint("evicted", session.MaxEnded), one), session.ErrEnded)
	u.wantAdmit(foreign("evicted1", one), session.ErrEnded)
	u.wantAdmit(foreign("evicted0", one), nil)
	for n := range session.MaxEnded + 2 {
		u.Advance(time.Hour)
		u.wantAdmit(foreign(fmt.Sprint("idle", n), limits(0, session.EvictOldest)), nil)
	}
	u.wantAdmit(foreign(fmt.Sprint("idle", session.MaxEnded), one), session.ErrEnded)
	u.wantAdmit(foreign("evicted1", one), nil)
}
