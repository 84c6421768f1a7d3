// Package sessiontest is the conformance suite for session.Store.
package sessiontest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
)

// Clock is a store whose clock moves only when it is advanced.
type Clock interface {
	session.Store
	Advance(d time.Duration)
	// Hold applies other timeouts to the store.
	Hold(most session.Timeouts)
}

// Run tests a store. open returns a new, empty store.
func Run(t *testing.T, open func(t *testing.T) Clock) {
	tests := map[string]func(*testing.T, *user){
		"a session is stored as created":               created,
		"invalid sessions are refused":                 invalid,
		"an id is used once":                           usedOnce,
		"the oldest is evicted at the cap":             evictOldest,
		"the new one is rejected at the cap":           reject,
		"a lowered cap":                                lowered,
		"ended sessions do not count":                  endedDoNotCount,
		"owners are independent":                       apart,
		"idle expiry slides, absolute expiry does not": slides,
		"shorter timeouts apply at once":               shortened,
		"touches are coalesced":                        coalesced,
		"list, last seen first":                        list,
		"end":                                          end,
		"end all but one":                              endAll,
		"the refresh table":                            refreshTable,
		"a retry gets the lost token":                  lostResponse,
		"two tabs":                                     twoTabs,
		"a thief and the victim":                       thief,
		"rotations are bounded":                        boundedRotations,
		"an external session begins once":              external,
		"an external session stays ended":              staysEnded,
		"an external session after a new login":        newLogin,
		"an evicted external session":                  externalCap,
		"ended external sessions are bounded":          endedBounded,
		"an external session has no refresh":           noRefresh,
		"rotating extends the idle expiry":             rotatingSlides,
		"another device":                               otherDevice,
		"concurrent rotations give one family":         manyRotations,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, &user{T: t, Clock: open(t)})
		})
	}
}

// Issuer is the issuer of external sessions in tests.
const Issuer = "https://issuer.example"

var (
	owner  = session.Owner{Subject: "user-42"}
	laptop = session.NewDevice("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", netip.MustParseAddr("192.0.2.1"))
	phone  = session.NewDevice("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1", netip.MustParseAddr("2001:db8::1"))
)

// user uses a store and fails the test on an error.
type user struct {
	*testing.T
	Clock
}

func limits(maximum int, full session.WhenFull) session.Limits {
	return session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: 24 * time.Hour, MaxPerSubject: maximum, WhenFull: full}
}

func login(l session.Limits) session.New {
	id := session.NewID()
	return session.New{ID: id, Owner: owner, Device: laptop, Claims: []byte(`{"tenant":"acme"}`), Limits: l, Refresh: session.NewRefresh(id)}
}

// begin creates a session slightly later than the previous one.
func (u *user) begin(n session.New) (session.Session, []string) {
	u.Helper()
	u.Advance(time.Millisecond)
	s, evicted, err := u.Create(context.Background(), n)
	if err != nil {
		u.Fatalf("creating: %v", err)
	}
	return s, evicted
}

func (u *user) wantLive(id string, want bool) {
	u.Helper()
	_, err := u.Get(context.Background(), id)
	if want && err != nil || !want && !errors.Is(err, session.ErrEnded) {
		u.Errorf("getting the session: %v; want it to continue: %v", err, want)
	}
}

func (u *user) ids(o session.Owner) (ids []string) {
	u.Helper()
	sessions, err := u.List(context.Background(), o)
	if err != nil {
		u.Fatal(err)
	}
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	return ids
}

func created(t *testing.T, u *user) {
	n := login(limits(0, session.EvictOldest))
	s, evicted := u.begin(n)
	got, err := u.Get(t.Context(), n.ID)
	if err != nil || len(evicted) != 0 {
		t.Fatal(err, evicted)
	}
	for _, s := range []session.Session{s, got} {
		if s.ID != n.ID || s.Owner != owner || s.Device != laptop || string(s.Claims) != string(n.Claims) || s.External {
			t.Errorf("session %+v", s)
		}
		if s.Created.IsZero() || !s.LastSeen.Equal(s.Created) || s.IdleExpiry.Sub(s.Created) != time.Hour ||
			s.AbsoluteExpiry.Sub(s.Created) != 24*time.Hour || s.IdleTimeout != time.Hour {
			t.Errorf("times of %+v", s)
		}
	}
}

func invalid(t *testing.T, u *user) {
	tests := map[string]func(*session.New){
		"a malformed id":                func(n *session.New) { n.ID = "mine" },
		"no subject":                    func(n *session.New) { n.Subject = "" },
		"claims that are not an object": func(n *session.New) { n.Claims = []byte(`[1]`) },
		"no idle timeout":               func(n *session.New) { n.IdleTimeout = 0 },
		"another's token":               func(n *session.New) { n.Refresh = session.NewRefresh(session.NewID()) },
	}
	for name, change := range tests {
		n := login(limits(0, session.Reject))
		change(&n)
		if _, _, err := u.Create(t.Context(), n); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%s: Create = %v", name, err)
		}
		if _, _, err := u.Admit(t.Context(), n, 0); !errors.Is(err, session.ErrInvalid) {
			t.Errorf("%s: Admit = %v", name, err)
		}
	}
	if _, err := u.Rotate(t.Context(), session.Rotation{Bind: session.BindNone, Grace: time.Hour}); !errors.Is(err, session.ErrInvalid) {
		t.Errorf("a long grace: %v", err)
	}
	if ended, err := u.End(t.Context(), "}:mine"); ended || err != nil {
		t.Errorf("ending a malformed id: %v, %v", ended, err)
	}
	u.wantLive("}:mine", false)
}

func usedOnce(t *testing.T, u *user) {
	n := login(limits(0, session.EvictOldest))
	u.begin(n)
	if _, _, err := u.Create(t.Context(), n); !errors.Is(err, session.ErrExists) {
		t.Errorf("creating again: %v", err)
	}
}

func evictOldest(_ *testing.T, u *user) {
	var ids []string
	for i := range 5 {
		s, evicted := u.begin(login(limits(3, session.EvictOldest)))
		ids = append(ids, s.ID)
		if i >= 3 && !slices.Equal(evicted, ids[i-3:i-2]) || i < 3 && len(evicted) != 0 {
			u.Errorf("login %d evicted %v of %v", i, evicted, ids)
		}
	}
	for i, id := range ids {
		u.wantLive(id, i >= 2)
	}
}

func reject(t *testing.T, u *user) {
	first, _ := u.begin(login(limits(2, session.Reject)))
	u.begin(login(limits(2, session.Reject)))
	if _, evicted, err := u.Create(t.Context(), login(limits(2, session.Reject))); !errors.Is(err, session.ErrFull) || len(evicted) != 0 {
		t.Errorf("the third: %v, %v", evicted, err)
	}
	if ended, err := u.End(t.Context(), first.ID); !ended || err != nil {
		t.Fatal(ended, err)
	}
	u.begin(login(limits(2, session.Reject)))
}

func lowered(_ *testing.T, u *user) {
	var ids []string
	for range 5 {
		s, _ := u.begin(login(limits(5, session.Reject)))
		ids = append(ids, s.ID)
	}
	_, evicted := u.begin(login(limits(2, session.EvictOldest)))
	if !slices.Equal(evicted, ids[:4]) {
		u.Errorf("evicted %v; want the first four of %v", evicted, ids)
	}
}

func endedDoNotCount(_ *testing.T, u *user) {
	u.begin(login(limits(2, session.Reject)))
	u.begin(login(limits(2, session.Reject)))
	u.Advance(time.Hour)
	u.begin(login(limits(2, session.Reject)))
}

func apart(_ *testing.T, u *user) {
	u.begin(login(limits(1, session.Reject)))
	other := login(limits(1, session.Reject))
	other.Subject = "user-43"
	u.begin(other)
	foreign := login(limits(1, session.Reject))
	foreign.Issuer = Issuer
	u.begin(foreign)
	for _, o := range []session.Owner{owner, other.Owner, foreign.Owner} {
		if got := u.ids(o); len(got) != 1 {
			u.Errorf("%+v has %v", o, got)
		}
	}
}

func slides(t *testing.T, u *user) {
	s, _ := u.begin(login(limits(0, session.Reject)))
	for range 28 {
		u.Advance(50 * time.Minute)
		got, err := u.Touch(t.Context(), s.ID, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		if got.IdleExpiry.After(got.AbsoluteExpiry) || !got.AbsoluteExpiry.Equal(s.AbsoluteExpiry) {
			t.Fatalf("times of %+v", got)
		}
	}
	u.Advance(40*time.Minute - time.Microsecond)
	u.wantLive(s.ID, true)
	u.Advance(time.Microsecond) // 24 h after the login
	u.wantLive(s.ID, false)
	if _, err := u.Touch(t.Context(), s.ID, 0); !errors.Is(err, session.ErrEnded) {
		t.Errorf("touching an ended session: %v", err)
	}
	idle, _ := u.begin(login(limits(0, session.Reject)))
	u.Advance(time.Hour - time.Microsecond)
	u.wantLive(idle.ID, true)
	u.Advance(time.Microsecond)
	u.wantLive(idle.ID, false)
}

// shortened: a shorter timeout applies to existing sessions, a longer one only to new sessions.
func shortened(t *testing.T, u *user) {
	s, _ := u.begin(login(limits(0, session.Reject)))
	u.Hold(session.Timeouts{Idle: 2 * time.Hour, Absolute: 48 * time.Hour})
	got, err := u.Get(t.Context(), s.ID)
	if err != nil || !got.IdleExpiry.Equal(s.IdleExpiry) || !got.AbsoluteExpiry.Equal(s.AbsoluteExpiry) || got.IdleTimeout != s.IdleTimeout {
		t.Errorf("with longer timeouts: %+v, %v; want %+v", got, err, s)
	}
	u.Hold(session.Timeouts{Idle: 10 * time.Minute, Absolute: time.Hour})
	for range 11 {
		u.Advance(5 * time.Minute)
		if got, err = u.Touch(t.Context(), s.ID, 0); err != nil || got.IdleTimeout != 10*time.Minute || !got.AbsoluteExpiry.Equal(s.Created.Add(time.Hour)) {
			t.Fatalf("with shorter timeouts: %+v, %v", got, err)
		}
	}
	u.Advance(5 * time.Minute)
	u.wantLive(s.ID, false)
	idle, _ := u.begin(login(limits(0, session.Reject)))
	u.Hold(session.Timeouts{Idle: 10 * time.Minute})
	u.Advance(10*time.Minute - time.Microsecond)
	u.wantLive(idle.ID, true)
	u.Advance(time.Microsecond)
	u.wantLive(idle.ID, false)
	if ids := u.ids(owner); len(ids) != 0 {
		t.Errorf("listed %v", ids)
	}
}

func coalesced(t *testing.T, u *user) {
	s, _ := u.begin(login(limits(0, session.Reject)))
	tests := []struct {
		after, coalesce time.Duration
		wantWrite       bool
	}{
		{after: 59 * time.Second, coalesce: time.Minute},
		{after: time.Second, coalesce: time.Minute, wantWrite: true},
		{after: 179 * time.Second, coalesce: time.Hour},
		{after: time.Second, coalesce: time.Hour, wantWrite: true}, // the minimum is a twentieth of the idle timeout
	}
	seen := s.LastSeen
	for i, tt := range tests {
		u.Advance(tt.after)
		got, err := u.Touch(t.Context(), s.ID, tt.coalesce)
		if err != nil {
			t.Fatal(err)
		}
		if wrote := !got.LastSeen.Equal(seen); wrote != tt.wantWrite {
			t.Errorf("touch %d wrote: %v", i, wrote)
		}
		seen = got.LastSeen
	}
}

func list(t *testing.T, u *user) {
	a, _ := u.begin(login(limits(0, session.Reject)))
	b, _ := u.begin(login(limits(0, session.Reject)))
	c, _ := u.begin(login(limits(0, session.Reject)))
	u.Advance(10 * time.Minute)
	if _, err := u.Touch(t.Context(), a.ID, 0); err != nil {
		t.Fatal(err)
	}
	if got := u.ids(owner); !slices.Equal(got, []string{a.ID, c.ID, b.ID}) {
		t.Errorf("listed %v", got)
	}
	sessions, err := u.List(t.Context(), owner)
	if err != nil || sessions[0].Claims != nil || sessions[0].Device != laptop {
		t.Errorf("listed %+v, %v", sessions, err)
	}
	u.Advance(55 * time.Minute)
	if got := u.ids(owner); !slices.Equal(got, []string{a.ID}) {
		t.Errorf("listed %v after b and c idled out", got)
	}
	if got := u.ids(session.Owner{Subject: "nobody"}); got != nil {
		t.Errorf("an unknown owner has %v", got)
	}
}

func end(t *testing.T, u *user) {
	n := login(limits(0, session.Reject))
	u.begin(n)
	for _, want := range []bool{true, false} {
		if ended, err := u.End(t.Context(), n.ID); ended != want || err != nil {
			t.Errorf("End = %v, %v; want %v", ended, err, want)
		}
	}
	u.wantLive(n.ID, false)
	u.wantOutcome(n.Refresh, session.OutcomeUnknown)
}

func endAll(t *testing.T, u *user) {
	var ids []string
	for range 4 {
		s, _ := u.begin(login(limits(0, session.Reject)))
		ids = append(ids, s.ID)
	}
	ended, err := u.EndAll(t.Context(), owner, ids[2])
	if err != nil || !slices.Equal(ended, []string{ids[0], ids[1], ids[3]}) {
		t.Errorf("ended %v of %v, %v", ended, ids, err)
	}
	if got := u.ids(owner); !slices.Equal(got, ids[2:3]) {
		t.Errorf("remaining sessions: %v", got)
	}
	if ended, err := u.EndAll(t.Context(), owner, ""); err != nil || !slices.Equal(ended, ids[2:3]) {
		t.Errorf("ended %v, %v", ended, err)
	}
}
