package token_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/signing"
	"github.com/posterndev/postern/sidecar/login/logintest"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
)

func TestNewLoginServiceRefuses(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	tests := map[string]func(*token.LoginServiceConfig){
		"no issuer":          func(c *token.LoginServiceConfig) { c.Issuer = nil },
		"no session manager": func(c *token.LoginServiceConfig) { c.SessionManager = nil },
		"a session manager of another issuer": func(c *token.LoginServiceConfig) {
			other, err := token.NewSessionManager(token.SessionManagerConfig{
				Issuer: "https://other.example.com", Scope: "shop/orders", Sessions: w.Sessions, Revocations: w.Revocations, Logger: c.Logger,
			})
			if err != nil {
				t.Fatal(err)
			}
			c.SessionManager = other
		},
		"limits": func(c *token.LoginServiceConfig) { c.Limits = session.Limits{} },
		"grace":  func(c *token.LoginServiceConfig) { c.Grace = time.Hour },
		"bind":   func(c *token.LoginServiceConfig) { c.Bind = "Colour" },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			c := token.LoginServiceConfig{
				Issuer: w.TokenIssuer, SessionManager: w.SessionManager, Sessions: w.Sessions, Limits: w.Limits,
				Logger: slog.New(slog.DiscardHandler),
			}
			if _, err := token.NewLoginService(c); err != nil {
				t.Fatal(err)
			}
			change(&c)
			if _, err := token.NewLoginService(c); err == nil {
				t.Error("no error")
			}
		})
	}
}

// TestBeginFails: after a failure no new session exists, and no session was displaced without the revocation of its tokens.
func TestBeginFails(t *testing.T) {
	reject := session.Limits{IdleTimeout: time.Hour, AbsoluteTimeout: time.Hour, MaxPerSubject: 1, WhenFull: session.Reject}
	tests := map[string]struct {
		options logintest.Options
		login   token.Login
		prepare func(*logintest.World)
		want    error
	}{
		"no subject":                      {login: token.Login{}, want: token.ErrInvalid},
		"a subject with a line break":     {login: token.Login{Subject: "a\nb"}, want: token.ErrInvalid},
		"a subject with a trailing space": {login: token.Login{Subject: "a "}, want: token.ErrInvalid},
		"claims":                          {login: token.Login{Subject: "a", Claims: json.RawMessage(`[]`)}, want: token.ErrInvalid},
		"store unavailable":               {login: token.Login{Subject: "a"}, prepare: func(w *logintest.World) { w.Sessions.Fail("Create") }, want: logintest.ErrUnavailable},
		"signer unavailable":              {login: token.Login{Subject: "a"}, prepare: func(w *logintest.World) { w.Signers.Err = signing.ErrNoKey }, want: signing.ErrNoKey},
		"full":                            {options: logintest.Options{Limits: reject}, login: token.Login{Subject: "full"}, want: session.ErrFull},
		"cannot displace":                 {login: token.Login{Subject: "full"}, prepare: func(w *logintest.World) { w.Revocations.Fail(logintest.ErrUnavailable) }, want: logintest.ErrUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, tt.options)
			for range w.Limits.Cap() {
				w.Login(t, "full")
			}
			if tt.prepare != nil {
				tt.prepare(w)
			}
			if _, err := w.LoginService.Begin(t.Context(), tt.login); !errors.Is(err, tt.want) {
				t.Errorf("error = %v; want %v", err, tt.want)
			}
			w.Sessions.Fail()
			for _, subject := range []string{"a", "full"} {
				list, err := w.LoginService.List(t.Context(), session.Owner{Subject: subject})
				if err != nil || len(list) > w.Limits.Cap() || subject == "a" && len(list) != 0 {
					t.Errorf("%s has %d sessions, %v", subject, len(list), err)
				}
			}
		})
	}
}

func TestDisplacedSessionsAreRevoked(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	first, second, third := w.Login(t, "a"), w.Login(t, "a"), w.Login(t, "a")
	if !w.Revocations.Revoked(first.Session.ID) || w.Revocations.Revoked(second.Session.ID) || w.Revocations.Revoked(third.Session.ID) {
		t.Errorf("revoked: %v", w.Revocations.Entries())
	}
}

// TestEndedSessionsAreRevokedInTheEnd: tokens of sessions that the store ended by itself are revoked, also if the first attempt
// fails.
func TestEndedSessionsAreRevokedInTheEnd(t *testing.T) {
	tests := map[string]func(w *logintest.World, first token.Tokens) error{
		"displaced": func(w *logintest.World, _ token.Tokens) error {
			_, err := w.LoginService.Begin(t.Context(), token.Login{Subject: "a"})
			return err
		},
		"reused": func(w *logintest.World, first token.Tokens) error {
			stranger := session.NewRefresh(first.Session.ID)
			family, _ := session.ParseRefresh(logintest.RefreshToken(first))
			_, _, err := w.LoginService.Refresh(t.Context(), string(family.Next(session.NewSalt()).Token().Reveal()), logintest.Chrome())
			if _, outcome, _ := w.LoginService.Refresh(t.Context(), string(stranger.Token().Reveal()), logintest.Chrome()); outcome != session.OutcomeUnknown {
				t.Errorf("a forged token: %s", outcome)
			}
			return err
		},
	}
	for name, end := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, logintest.Options{})
			first := w.Login(t, "a")
			w.Login(t, "a")
			w.Revocations.Fail(logintest.ErrUnavailable)
			if err := end(w, first); !errors.Is(err, logintest.ErrUnavailable) {
				t.Fatalf("error %v", err)
			}
			w.Revocations.Fail(nil)
			for deadline := time.Now().Add(30 * time.Second); !w.Revocations.Revoked(first.Session.ID); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("its tokens are still valid")
				}
			}
		})
	}
}

// TestForgedTokenIsNotSigned: knowing a session id, which every access token contains, does not make the signer work.
func TestForgedTokenIsNotSigned(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	first := w.Login(t, "a")
	w.Signers.Err = signing.ErrNoKey
	_, outcome, err := w.LoginService.Refresh(t.Context(), string(session.NewRefresh(first.Session.ID).Token().Reveal()), logintest.Chrome())
	if outcome != session.OutcomeUnknown || !errors.Is(err, token.ErrGrant) {
		t.Errorf("%s, %v", outcome, err)
	}
}

func TestRefresh(t *testing.T) {
	phone := session.NewDevice("curl/8", netip.MustParseAddr("198.51.100.1"))
	tests := map[string]struct {
		options logintest.Options
		// use is called with the tokens of a new session, and returns the refresh token to present.
		use         func(*logintest.World, token.Tokens) string
		device      session.Device
		want        error
		wantOutcome session.Outcome
		wantEnded   bool
	}{
		"current": {use: func(_ *logintest.World, s token.Tokens) string { return logintest.RefreshToken(s) }, wantOutcome: session.OutcomeRotated},
		"retried within grace": {
			options: logintest.Options{Grace: 10 * time.Second}, wantOutcome: session.OutcomeRetried,
			use: func(w *logintest.World, s token.Tokens) string {
				mustRefresh(w, logintest.RefreshToken(s))
				return logintest.RefreshToken(s)
			},
		},
		"reused": {
			want: token.ErrGrant, wantOutcome: session.OutcomeReused, wantEnded: true,
			use: func(w *logintest.World, s token.Tokens) string {
				mustRefresh(w, logintest.RefreshToken(s))
				return logintest.RefreshToken(s)
			},
		},
		"another device": {
			options: logintest.Options{Bind: session.BindAddress}, device: phone, want: token.ErrGrant, wantOutcome: session.OutcomeBound,
			use: func(_ *logintest.World, s token.Tokens) string { return logintest.RefreshToken(s) },
		},
		"invented": {want: token.ErrGrant, wantOutcome: session.OutcomeUnknown, use: func(*logintest.World, token.Tokens) string {
			return logintest.RefreshToken(token.Tokens{Refresh: session.NewRefresh(session.NewID()).Token()})
		}},
		"forged": {want: token.ErrGrant, wantOutcome: session.OutcomeUnknown, use: func(_ *logintest.World, s token.Tokens) string {
			return string(session.NewRefresh(s.Session.ID).Token().Reveal())
		}},
		"malformed": {want: token.ErrGrant, wantOutcome: session.OutcomeUnknown, use: func(*logintest.World, token.Tokens) string { return "x" }},
		"idle timeout": {want: token.ErrGrant, wantOutcome: session.OutcomeExpired, use: func(w *logintest.World, s token.Tokens) string {
			w.Offset += time.Hour
			return logintest.RefreshToken(s)
		}},
		"store unavailable at lookup": {want: logintest.ErrUnavailable, use: func(w *logintest.World, s token.Tokens) string {
			w.Sessions.Fail("Get")
			return logintest.RefreshToken(s)
		}},
		"store unavailable at rotation": {want: logintest.ErrUnavailable, use: func(w *logintest.World, s token.Tokens) string {
			w.Sessions.Fail("Rotate")
			return logintest.RefreshToken(s)
		}},
		"revocations unavailable at reuse": {
			want: logintest.ErrUnavailable, wantOutcome: session.OutcomeReused,
			use: func(w *logintest.World, s token.Tokens) string {
				mustRefresh(w, logintest.RefreshToken(s))
				w.Revocations.Fail(logintest.ErrUnavailable)
				return logintest.RefreshToken(s)
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := logintest.New(t, tt.options)
			s, err := w.LoginService.Begin(t.Context(), token.Login{Subject: "a", Device: logintest.Chrome(), Claims: json.RawMessage(`{"roles":["admin"]}`)})
			if err != nil {
				t.Fatal(err)
			}
			device := tt.device
			if !device.Address.IsValid() {
				device = logintest.Chrome()
			}
			next, outcome, err := w.LoginService.Refresh(t.Context(), tt.use(w, s), device)
			if !errors.Is(err, tt.want) || outcome != tt.wantOutcome {
				t.Fatalf("Refresh = %s, %v; want %s, %v", outcome, err, tt.wantOutcome, tt.want)
			}
			if ended := w.Revocations.Revoked(s.Session.ID); ended != tt.wantEnded {
				t.Errorf("revoked: %v; want %v", ended, tt.wantEnded)
			}
			if err != nil {
				if next.Token != "" || !next.Refresh.IsZero() {
					t.Error("a refusal returns tokens")
				}
				return
			}
			_, claims := logintest.Decode(t, next.Token)
			if claims["sid"] != s.Session.ID || claims["sub"] != "a" || claims["roles"] == nil || logintest.RefreshToken(next) == logintest.RefreshToken(s) {
				t.Errorf("claims = %v", claims)
			}
		})
	}
}

func mustRefresh(w *logintest.World, token string) {
	if _, _, err := w.LoginService.Refresh(context.Background(), token, logintest.Chrome()); err != nil {
		panic(err)
	}
}

// TestSignerUnavailableAtRefresh: an outage of the signer, however long, does not use up a refresh token.
func TestSignerUnavailableAtRefresh(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	s := w.Login(t, "a")
	w.Signers.Err = logintest.ErrUnavailable
	if _, _, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(s), logintest.Chrome()); !errors.Is(err, logintest.ErrUnavailable) || errors.Is(err, token.ErrGrant) {
		t.Fatalf("error = %v", err)
	}
	w.Signers.Err, w.Offset = nil, 30*time.Minute
	if _, outcome, err := w.LoginService.Refresh(t.Context(), logintest.RefreshToken(s), logintest.Chrome()); err != nil || outcome != session.OutcomeRotated {
		t.Errorf("afterwards: %s, %v", outcome, err)
	}
}

func TestEnd(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	a, other := w.Login(t, "a"), w.Login(t, "b")
	owner := session.Owner{Subject: "a"}
	for name, tt := range map[string]struct {
		id   string
		want bool
	}{
		"another's": {other.Session.ID, false}, "unknown": {session.NewID(), false}, "no id": {"x", false}, "theirs": {a.Session.ID, true},
	} {
		if got, err := w.LoginService.EndOwned(t.Context(), owner, tt.id); err != nil || got != tt.want {
			t.Errorf("EndOwned %s = %v, %v; want %v", name, got, err, tt.want)
		}
	}
	if !w.Revocations.Revoked(a.Session.ID) || w.Revocations.Revoked(other.Session.ID) {
		t.Errorf("revoked: %v", w.Revocations.Entries())
	}
	if ended, err := w.LoginService.EndByRefreshToken(t.Context(), logintest.RefreshToken(other)); err != nil || !ended || !w.Revocations.Revoked(other.Session.ID) {
		t.Errorf("EndByRefreshToken = %v, %v", ended, err)
	}
	for name, token := range map[string]string{"again": logintest.RefreshToken(other), "malformed": "x"} {
		if ended, err := w.LoginService.EndByRefreshToken(t.Context(), token); err != nil || ended {
			t.Errorf("EndByRefreshToken %s = %v, %v", name, ended, err)
		}
	}
}

// TestForgedTokenEndsNothing: knowing a sid is not enough to end the session.
func TestForgedTokenEndsNothing(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	s := w.Login(t, "a")
	forged := string(session.NewRefresh(s.Session.ID).Token().Reveal())
	if ended, err := w.LoginService.EndByRefreshToken(t.Context(), forged); err != nil || ended || w.Revocations.Revoked(s.Session.ID) {
		t.Errorf("EndByRefreshToken = %v, %v", ended, err)
	}
}

// TestEndFailsHalfWay: the revocation is written first. If ending fails, the session still exists and can be ended again.
func TestEndFailsHalfWay(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	s := w.Login(t, "a")
	owner := session.Owner{Subject: "a"}
	calls := map[string]func() error{
		"End":      func() error { _, err := w.LoginService.End(t.Context(), s.Session.ID); return err },
		"EndOwned": func() error { _, err := w.LoginService.EndOwned(t.Context(), owner, s.Session.ID); return err },
		"EndAll":   func() error { _, err := w.LoginService.EndAll(t.Context(), owner, ""); return err },
		"EndByRefreshToken": func() error {
			_, err := w.LoginService.EndByRefreshToken(t.Context(), logintest.RefreshToken(s))
			return err
		},
	}
	for name, method := range map[string]string{"End": "End", "EndOwned": "Get", "EndAll": "EndAll", "EndByRefreshToken": "Rotate"} {
		w.Sessions.Fail(method)
		if err := calls[name](); !errors.Is(err, logintest.ErrUnavailable) {
			t.Errorf("%s with %s unavailable: %v", name, method, err)
		}
	}
	w.Sessions.Fail("List")
	if err := calls["EndAll"](); !errors.Is(err, logintest.ErrUnavailable) {
		t.Errorf("EndAll with List unavailable: %v", err)
	}
	w.Sessions.Fail()
	w.Revocations.Fail(logintest.ErrUnavailable)
	for name, call := range calls {
		if name == "EndByRefreshToken" {
			continue // the token is already rotated; the session still exists
		}
		if err := call(); !errors.Is(err, logintest.ErrUnavailable) {
			t.Errorf("%s without revocations: %v", name, err)
		}
	}
	w.Revocations.Fail(nil)
	if n, err := w.LoginService.EndAll(t.Context(), owner, ""); err != nil || n != 1 || !w.Revocations.Revoked(s.Session.ID) {
		t.Errorf("afterwards: %d, %v", n, err)
	}
}

func TestEndAllExceptOne(t *testing.T) {
	w := logintest.New(t, logintest.Options{})
	a, b := w.Login(t, "a"), w.Login(t, "a")
	if n, err := w.LoginService.EndAll(t.Context(), session.Owner{Subject: "a"}, b.Session.ID); err != nil || n != 1 {
		t.Errorf("EndAll = %d, %v", n, err)
	}
	if !w.Revocations.Revoked(a.Session.ID) || w.Revocations.Revoked(b.Session.ID) {
		t.Errorf("revoked: %v", w.Revocations.Entries())
	}
}
