package token

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/session"
)

func TestNewLoginServiceRefuses(t *testing.T) {
	w := newWorld(t, options{})
	tests := map[string]func(*LoginServiceConfig){
		"no issuer":          func(c *LoginServiceConfig) { c.Issuer = nil },
		"no session manager": func(c *LoginServiceConfig) { c.SessionManager = nil },
		"a session manager of another issuer": func(c *LoginServiceConfig) {
			other := *c.SessionManager
			other.cfg.Issuer = "https://other.example.com"
			c.SessionManager = &other
		},
		"limits": func(c *LoginServiceConfig) { c.Limits = session.Limits{} },
		"grace":  func(c *LoginServiceConfig) { c.Grace = time.Hour },
		"bind":   func(c *LoginServiceConfig) { c.Bind = "Colour" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := w.loginService.cfg
			c.Logger = slog.New(slog.DiscardHandler)
			change(&c)
			if _, err := NewLoginService(c); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestBeginFails: whatever fails, no session stays and none is displaced without its tokens.
func TestBeginFails(t *testing.T) {
	reject := session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, MaxPerSubject: 1, WhenFull: session.Reject}
	tests := map[string]struct {
		options options
		login   Login
		prepare func(*world)
		want    error
	}{
		"no subject":      {login: Login{}, want: ErrInvalid},
		"a subject lines": {login: Login{Subject: "a\nb"}, want: ErrInvalid},
		"a subject apart": {login: Login{Subject: "a "}, want: ErrInvalid},
		"claims":          {login: Login{Subject: "a", Claims: json.RawMessage(`[]`)}, want: ErrInvalid},
		"store away":      {login: Login{Subject: "a"}, prepare: func(w *world) { w.sessions.take("Create") }, want: errAway},
		"signer away":     {login: Login{Subject: "a"}, prepare: func(w *world) { w.signers.err = signing.ErrNoKey }, want: signing.ErrNoKey},
		"full":            {options: options{limits: reject}, login: Login{Subject: "full"}, want: session.ErrFull},
		"cannot displace": {login: Login{Subject: "full"}, prepare: func(w *world) { w.revocations.err = errAway }, want: errAway},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.options)
			for range w.loginService.cfg.Limits.Cap() {
				w.login(t, "full")
			}
			if tt.prepare != nil {
				tt.prepare(w)
			}
			if _, err := w.loginService.Begin(t.Context(), tt.login); !errors.Is(err, tt.want) {
				t.Errorf("error = %v; want %v", err, tt.want)
			}
			w.sessions.take()
			for _, subject := range []string{"a", "full"} {
				list, err := w.loginService.List(t.Context(), session.Owner{Subject: subject})
				if err != nil || len(list) > w.loginService.cfg.Limits.Cap() || subject == "a" && len(list) != 0 {
					t.Errorf("%s has %d sessions, %v", subject, len(list), err)
				}
			}
		})
	}
}

func TestDisplacedSessionsLoseTheirTokens(t *testing.T) {
	w := newWorld(t, options{})
	first, second, third := w.login(t, "a"), w.login(t, "a"), w.login(t, "a")
	if !w.revocations.revoked(first.Session.ID) || w.revocations.revoked(second.Session.ID) || w.revocations.revoked(third.Session.ID) {
		t.Errorf("revoked: %v", w.revocations.entries)
	}
}

// TestEndedSessionsAreRevokedInTheEnd: what the store has ended by itself loses its tokens also where that fails at first.
func TestEndedSessionsAreRevokedInTheEnd(t *testing.T) {
	tests := map[string]func(w *world, first Tokens) error{
		"displaced": func(w *world, _ Tokens) error {
			_, err := w.loginService.Begin(t.Context(), Login{Subject: "a"})
			return err
		},
		"reused": func(w *world, first Tokens) error {
			stranger := session.NewRefresh(first.Session.ID)
			family, _ := session.ParseRefresh(refreshOf(first))
			_, _, err := w.loginService.Refresh(t.Context(), string(family.Next(session.NewSalt()).Token().Reveal()), chrome())
			if _, outcome, _ := w.loginService.Refresh(t.Context(), string(stranger.Token().Reveal()), chrome()); outcome != session.OutcomeUnknown {
				t.Errorf("a stranger's: %s", outcome)
			}
			return err
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, options{})
			first := w.login(t, "a")
			w.login(t, "a")
			w.revocations.away(errAway)
			if err := end(w, first); !errors.Is(err, errAway) {
				t.Fatalf("error %v", err)
			}
			w.revocations.away(nil)
			for deadline := time.Now().Add(30 * time.Second); !w.revocations.revoked(first.Session.ID); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("its tokens are still good")
				}
			}
		})
	}
}

// TestNothingIsSignedForStrangers: who knows a session's id alone, which is in every access token, makes no work for the signer.
func TestNothingIsSignedForStrangers(t *testing.T) {
	w := newWorld(t, options{})
	first := w.login(t, "a")
	w.signers.err = signing.ErrNoKey
	_, outcome, err := w.loginService.Refresh(t.Context(), string(session.NewRefresh(first.Session.ID).Token().Reveal()), chrome())
	if outcome != session.OutcomeUnknown || !errors.Is(err, ErrGrant) {
		t.Errorf("%s, %v", outcome, err)
	}
}

func TestRefresh(t *testing.T) {
	phone := session.NewDevice("curl/8", netip.MustParseAddr("198.51.100.1"))
	tests := map[string]struct {
		options options
		// use is called with a fresh session, and returns the refresh token to present.
		use         func(*world, Tokens) string
		device      session.Device
		want        error
		wantOutcome session.Outcome
		wantEnded   bool
	}{
		"current": {use: func(_ *world, s Tokens) string { return refreshOf(s) }, wantOutcome: session.OutcomeRotated},
		"retried within grace": {
			options: options{grace: 10 * time.Second}, wantOutcome: session.OutcomeRetried,
			use: func(w *world, s Tokens) string { mustRefresh(w, refreshOf(s)); return refreshOf(s) },
		},
		"reused": {
			want: ErrGrant, wantOutcome: session.OutcomeReused, wantEnded: true,
			use: func(w *world, s Tokens) string { mustRefresh(w, refreshOf(s)); return refreshOf(s) },
		},
		"another device": {
			options: options{bind: session.BindAddress}, device: phone, want: ErrGrant, wantOutcome: session.OutcomeBound,
			use: func(_ *world, s Tokens) string { return refreshOf(s) },
		},
		"invented": {want: ErrGrant, wantOutcome: session.OutcomeUnknown, use: func(*world, Tokens) string {
			return refreshOf(Tokens{Refresh: session.NewRefresh(session.NewID()).Token()})
		}},
		"forged":                     {want: ErrGrant, wantOutcome: session.OutcomeUnknown, use: func(_ *world, s Tokens) string { return string(session.NewRefresh(s.Session.ID).Token().Reveal()) }},
		"malformed":                  {want: ErrGrant, wantOutcome: session.OutcomeUnknown, use: func(*world, Tokens) string { return "x" }},
		"idled out":                  {want: ErrGrant, wantOutcome: session.OutcomeExpired, use: func(w *world, s Tokens) string { w.offset += time.Hour; return refreshOf(s) }},
		"store away at the look-up":  {want: errAway, use: func(w *world, s Tokens) string { w.sessions.take("Get"); return refreshOf(s) }},
		"store away at the rotation": {want: errAway, use: func(w *world, s Tokens) string { w.sessions.take("Rotate"); return refreshOf(s) }},
		"revocations away at reuse": {
			want: errAway, wantOutcome: session.OutcomeReused,
			use: func(w *world, s Tokens) string {
				mustRefresh(w, refreshOf(s))
				w.revocations.err = errAway
				return refreshOf(s)
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tt.options)
			s, err := w.loginService.Begin(t.Context(), Login{Subject: "a", Device: chrome(), Claims: json.RawMessage(`{"roles":["admin"]}`)})
			if err != nil {
				t.Fatal(err)
			}
			device := tt.device
			if !device.Address.IsValid() {
				device = chrome()
			}
			next, outcome, err := w.loginService.Refresh(t.Context(), tt.use(w, s), device)
			if !errors.Is(err, tt.want) || outcome != tt.wantOutcome {
				t.Fatalf("Refresh = %s, %v; want %s, %v", outcome, err, tt.wantOutcome, tt.want)
			}
			if ended := w.revocations.revoked(s.Session.ID); ended != tt.wantEnded {
				t.Errorf("revoked: %v; want %v", ended, tt.wantEnded)
			}
			if err != nil {
				if next.Token != "" || !next.Refresh.IsZero() {
					t.Error("a refusal hands out tokens")
				}
				return
			}
			_, claims := decode(t, next.Token)
			if claims["sid"] != s.Session.ID || claims["sub"] != "a" || claims["roles"] == nil || refreshOf(next) == refreshOf(s) {
				t.Errorf("claims = %v", claims)
			}
		})
	}
}

func mustRefresh(w *world, token string) {
	if _, _, err := w.loginService.Refresh(context.Background(), token, chrome()); err != nil {
		panic(err)
	}
}

// TestSignerAwayAtRefresh: an outage of the signer, however long, does not use a refresh token up.
func TestSignerAwayAtRefresh(t *testing.T) {
	w := newWorld(t, options{})
	s := w.login(t, "a")
	w.signers.err = errAway
	if _, _, err := w.loginService.Refresh(t.Context(), refreshOf(s), chrome()); !errors.Is(err, errAway) || errors.Is(err, ErrGrant) {
		t.Fatalf("error = %v", err)
	}
	w.signers.err, w.offset = nil, 30*time.Minute
	if _, outcome, err := w.loginService.Refresh(t.Context(), refreshOf(s), chrome()); err != nil || outcome != session.OutcomeRotated {
		t.Errorf("afterwards: %s, %v", outcome, err)
	}
}

func TestEnd(t *testing.T) {
	w := newWorld(t, options{})
	a, other := w.login(t, "a"), w.login(t, "b")
	owner := session.Owner{Subject: "a"}
	for name, tt := range map[string]struct {
		id   string
		want bool
	}{
		"another's": {other.Session.ID, false}, "unknown": {session.NewID(), false}, "no id": {"x", false}, "theirs": {a.Session.ID, true},
	} {
		if got, err := w.loginService.EndOwned(t.Context(), owner, tt.id); err != nil || got != tt.want {
			t.Errorf("EndOwned %s = %v, %v; want %v", name, got, err, tt.want)
		}
	}
	if !w.revocations.revoked(a.Session.ID) || w.revocations.revoked(other.Session.ID) {
		t.Errorf("revoked: %v", w.revocations.entries)
	}
	if ended, err := w.loginService.EndPresented(t.Context(), refreshOf(other)); err != nil || !ended || !w.revocations.revoked(other.Session.ID) {
		t.Errorf("EndPresented = %v, %v", ended, err)
	}
	for name, token := range map[string]string{"again": refreshOf(other), "malformed": "x"} {
		if ended, err := w.loginService.EndPresented(t.Context(), token); err != nil || ended {
			t.Errorf("EndPresented %s = %v, %v", name, ended, err)
		}
	}
}

// TestForgedTokenEndsNothing: to know a sid is not enough to log its owner out.
func TestForgedTokenEndsNothing(t *testing.T) {
	w := newWorld(t, options{})
	s := w.login(t, "a")
	forged := string(session.NewRefresh(s.Session.ID).Token().Reveal())
	if ended, err := w.loginService.EndPresented(t.Context(), forged); err != nil || ended || w.revocations.revoked(s.Session.ID) {
		t.Errorf("EndPresented = %v, %v", ended, err)
	}
}

// TestEndFailsHalfWay: the revocation comes first, and the session is there to be ended again.
func TestEndFailsHalfWay(t *testing.T) {
	w := newWorld(t, options{})
	s := w.login(t, "a")
	owner := session.Owner{Subject: "a"}
	calls := map[string]func() error{
		"End":          func() error { _, err := w.loginService.End(t.Context(), s.Session.ID); return err },
		"EndOwned":     func() error { _, err := w.loginService.EndOwned(t.Context(), owner, s.Session.ID); return err },
		"EndAll":       func() error { _, err := w.loginService.EndAll(t.Context(), owner, ""); return err },
		"EndPresented": func() error { _, err := w.loginService.EndPresented(t.Context(), refreshOf(s)); return err },
	}
	for name, method := range map[string]string{"End": "End", "EndOwned": "Get", "EndAll": "EndAll", "EndPresented": "Rotate"} {
		w.sessions.take(method)
		if err := calls[name](); !errors.Is(err, errAway) {
			t.Errorf("%s with %s away: %v", name, method, err)
		}
	}
	w.sessions.take("List")
	if err := calls["EndAll"](); !errors.Is(err, errAway) {
		t.Errorf("EndAll with List away: %v", err)
	}
	w.sessions.take()
	w.revocations.err = errAway
	for name, call := range calls {
		if name == "EndPresented" {
			continue // it has rotated the token by then; the session is still there
		}
		if err := call(); !errors.Is(err, errAway) {
			t.Errorf("%s without revocations: %v", name, err)
		}
	}
	w.revocations.err = nil
	if n, err := w.loginService.EndAll(t.Context(), owner, ""); err != nil || n != 1 || !w.revocations.revoked(s.Session.ID) {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

func TestEndAllKeepsOne(t *testing.T) {
	w := newWorld(t, options{})
	a, b := w.login(t, "a"), w.login(t, "a")
	if n, err := w.loginService.EndAll(t.Context(), session.Owner{Subject: "a"}, b.Session.ID); err != nil || n != 1 {
		t.Errorf("EndAll = %d, %v", n, err)
	}
	if !w.revocations.revoked(a.Session.ID) || w.revocations.revoked(b.Session.ID) {
		t.Errorf("revoked: %v", w.revocations.entries)
	}
}
