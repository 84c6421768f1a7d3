package sessiontest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
)

const grace = 10 * time.Second

func (u *user) rotate(r session.Refresh) session.Rotated {
	u.Helper()
	return u.rotateFrom(r, session.BindNone, laptop)
}

func (u *user) rotateFrom(r session.Refresh, bind session.Bind, d session.Device) session.Rotated {
	u.Helper()
	got, err := u.Rotate(context.Background(), session.Rotation{Presented: r, Salt: session.NewSalt(), Grace: grace, Bind: bind, Device: d})
	if err != nil {
		u.Fatalf("rotating: %v", err)
	}
	return got
}

// wantOutcome presents a token and returns the current one.
func (u *user) wantOutcome(r session.Refresh, want session.Outcome) session.Refresh {
	u.Helper()
	got := u.rotate(r)
	if got.Outcome != want {
		u.Errorf("outcome %q; want %q", got.Outcome, want)
	}
	holds := want == session.OutcomeRotated || want == session.OutcomeRetried
	if holds == got.Current.IsZero() || (want == session.OutcomeUnknown) != (got.Session.ID == "") {
		u.Errorf("outcome %q with %+v", got.Outcome, got)
	}
	return got.Current
}

func (u *user) family() session.Refresh {
	u.Helper()
	n := login(limits(0, session.EvictOldest))
	u.begin(n)
	return n.Refresh
}

// forged returns a token that was never issued, of the same family or of none.
func forged(r session.Refresh, sameFamily bool) session.Refresh {
	if sameFamily {
		return r.Next(session.NewSalt())
	}
	return session.NewRefresh(r.ID)
}

// refreshTable covers the table in the comment of package session.
func refreshTable(t *testing.T, u *user) {
	tests := map[string]struct {
		// present returns the token to present. first is the first token of the family.
		present  func(first session.Refresh) session.Refresh
		want     session.Outcome
		wantLive bool
	}{
		"current": {present: func(first session.Refresh) session.Refresh { return first }, want: session.OutcomeRotated, wantLive: true},
		"rotated, in grace": {present: func(first session.Refresh) session.Refresh {
			u.rotate(first)
			return first
		}, want: session.OutcomeRetried, wantLive: true},
		"rotated, after grace": {present: func(first session.Refresh) session.Refresh {
			u.rotate(first)
			u.Advance(grace)
			return first
		}, want: session.OutcomeReused},
		"a retry does not extend grace": {present: func(first session.Refresh) session.Refresh {
			u.rotate(first)
			u.Advance(grace / 2)
			u.rotate(first)
			u.Advance(grace / 2)
			return first
		}, want: session.OutcomeReused},
		"never issued":                     {present: func(first session.Refresh) session.Refresh { return forged(first, true) }, want: session.OutcomeReused},
		"forged with a known sid":          {present: func(first session.Refresh) session.Refresh { return forged(first, false) }, want: session.OutcomeUnknown, wantLive: true},
		"unknown session":                  {present: func(session.Refresh) session.Refresh { return session.NewRefresh(session.NewID()) }, want: session.OutcomeUnknown, wantLive: true},
		"session reached its idle timeout": {present: func(first session.Refresh) session.Refresh { u.Advance(time.Hour); return first }, want: session.OutcomeExpired},
		"session was ended":                {present: func(first session.Refresh) session.Refresh { _, _ = u.End(t.Context(), first.ID); return first }, want: session.OutcomeUnknown},
		"long after the idle timeout": {present: func(first session.Refresh) session.Refresh {
			u.Advance(time.Hour + session.Linger)
			return first
		}, want: session.OutcomeUnknown},
	}
	for name, tt := range tests {
		first := u.family()
		if got := u.rotate(tt.present(first)); got.Outcome != tt.want {
			t.Errorf("%s: %q; want %q", name, got.Outcome, tt.want)
		}
		u.wantLive(first.ID, tt.wantLive)
	}
}

func lostResponse(_ *testing.T, u *user) {
	first := u.family()
	second := u.wantOutcome(first, session.OutcomeRotated)
	u.Advance(grace - time.Microsecond)
	if got := u.wantOutcome(first, session.OutcomeRetried); got != second {
		u.Error("the retry got another token than the lost response")
	}
	third := u.wantOutcome(second, session.OutcomeRotated)
	u.wantOutcome(third, session.OutcomeRotated)
}

func twoTabs(_ *testing.T, u *user) {
	first := u.family()
	second := u.wantOutcome(first, session.OutcomeRotated)
	third := u.wantOutcome(second, session.OutcomeRotated)
	fourth := u.wantOutcome(third, session.OutcomeRotated)
	// A slow tab presents a token that was replaced long ago. It gets the token that the others hold.
	for _, old := range []session.Refresh{first, second, third} {
		if got := u.wantOutcome(old, session.OutcomeRetried); got != fourth {
			u.Error("the tabs hold different tokens")
		}
	}
	u.Advance(time.Hour - time.Minute)
	u.wantOutcome(fourth, session.OutcomeRotated)
}

func thief(_ *testing.T, u *user) {
	stolen := u.family()
	u.wantOutcome(stolen, session.OutcomeRotated)
	u.Advance(grace)
	u.wantOutcome(stolen, session.OutcomeReused)
	u.wantLive(stolen.ID, false)
	u.wantOutcome(stolen, session.OutcomeUnknown)
}

func boundedRotations(_ *testing.T, u *user) {
	first := u.family()
	tokens := []session.Refresh{first}
	for range session.MaxRetried + 1 {
		tokens = append(tokens, u.wantOutcome(tokens[len(tokens)-1], session.OutcomeRotated))
	}
	if got := u.wantOutcome(tokens[1], session.OutcomeRetried); got != tokens[len(tokens)-1] {
		u.Error("the retry got another token than the current one")
	}
	u.wantOutcome(first, session.OutcomeReused)
}

func rotatingSlides(_ *testing.T, u *user) {
	token := u.family()
	for range 30 {
		u.Advance(45 * time.Minute)
		token = u.wantOutcome(token, session.OutcomeRotated)
	}
	u.Advance(45 * time.Minute)
	token = u.wantOutcome(token, session.OutcomeRotated)
	u.Advance(45 * time.Minute) // 24 h after the login
	u.wantOutcome(token, session.OutcomeExpired)
	u.wantLive(token.ID, false)
}

func otherDevice(_ *testing.T, u *user) {
	updated := session.NewDevice("Mozilla/5.0 (X11; Linux x86_64; rv:129.0) Gecko/20100101 Firefox/129.0", phone.Address)
	tests := map[string]struct {
		bind session.Bind
		from session.Device
		want session.Outcome
	}{
		"none":             {bind: session.BindNone, from: phone, want: session.OutcomeRotated},
		"the same agent":   {bind: session.BindUserAgent, from: updated, want: session.OutcomeRotated},
		"another agent":    {bind: session.BindUserAgent, from: phone, want: session.OutcomeBound},
		"another address":  {bind: session.BindAddress, from: updated, want: session.OutcomeBound},
		"the same address": {bind: session.BindAddress, from: laptop, want: session.OutcomeRotated},
		"no device":        {bind: session.BindAddress, want: session.OutcomeBound},
	}
	for name, tt := range tests {
		token := u.family()
		got := u.rotateFrom(token, tt.bind, tt.from)
		if got.Outcome != tt.want {
			u.Errorf("%s: %q; want %q", name, got.Outcome, tt.want)
		}
		if tt.want == session.OutcomeBound {
			u.wantOutcome(token, session.OutcomeRotated) // the refused attempts changed nothing
		}
	}
	// A mismatch of the device does not hide the reuse of an old token.
	stolen := u.family()
	u.wantOutcome(stolen, session.OutcomeRotated)
	u.Advance(grace)
	if got := u.rotateFrom(stolen, session.BindAddress, phone); got.Outcome != session.OutcomeReused {
		u.Errorf("an old token from another device: %q", got.Outcome)
	}
}

// manyRotations: tabs that refresh concurrently hold one token afterwards, and the family is still valid.
func manyRotations(_ *testing.T, u *user) {
	first := u.family()
	tokens := make([]session.Refresh, 40)
	var wg sync.WaitGroup
	for i := range tokens {
		wg.Go(func() {
			got, err := u.Rotate(context.Background(), session.Rotation{Presented: first, Salt: session.NewSalt(), Grace: grace, Bind: session.BindNone})
			if err != nil {
				u.Error(err)
			}
			tokens[i] = got.Current
		})
	}
	wg.Wait()
	for _, token := range tokens {
		if token.IsZero() || token != tokens[0] {
			u.Fatal("the tabs hold different tokens")
		}
	}
	u.wantOutcome(tokens[0], session.OutcomeRotated)
}
