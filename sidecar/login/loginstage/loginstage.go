// Package loginstage turns the response of an app that has checked a password into a login.
//
// The app responds with 2xx, or with delivery Cookie also with the redirects 302 and 303, on a route of the policy's
// tokens.login, and with
//
//	Postern-Subject: user-42
//	Postern-Claims: {"roles":["admin"]}     (optional; a JSON object of up to 4 KiB)
//
// and the client gets tokens. On every other route and status these fields have no effect, and the stage reports that. Clients
// never receive them, because the upstream stage removes them from every response, and cannot send them, because the strip stage
// removes them from every request.
package loginstage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// The response fields by which an app states who has logged in.
const (
	subjectField = "Postern-Subject"
	claimsField  = "Postern-Claims"
)

// Config configures the login stage.
type Config struct {
	// Match selects the routes, in every reading of a path. No other route may log anyone in; nil selects none.
	Match          *route.Matcher
	LoginService   *token.LoginService
	TokenTransport *transport.TokenTransport
	// FieldEncoding is the encoding of the app's fields; empty is UTF8.
	FieldEncoding FieldEncoding
	// Logger gets a warning where the fields have no effect. It defaults to no log.
	Logger *slog.Logger
	// Now defaults to time.Now.
	Now func() time.Time
}

type loginStage struct {
	Config
	ignored *ignored
}

// New returns the login stage. It must be the stage next to the app, inside the stages that compress or cache. On the routes of
// Match, for a 2xx response with Postern-Subject:
//
//   - a new session begins, and the session of the tokens that the client sent is ended (session fixation);
//   - with delivery Body the response is 200 with the JSON of RFC 6749 §5.1. If the app's body is a JSON object of up to 64 KiB,
//     its members are added (§5.1 allows additional members); the tokens win if names are equal. Any other body of the app is
//     dropped. The app's header fields are kept, except those that describe its body;
//   - with delivery Cookie the app's response is passed on with the cookies added. A login from a page of another origin is
//     refused with 403 cross-origin before it reaches the app. A redirect by 302 or 303 is a login as well, because apps that
//     render pages respond to the POST of a form so. 307 and 308 are not: they make the browser send the password again.
//
// On all other responses the fields are ignored. The stage then logs a warning and emits event.LoginIgnored, with the reason.
//
// Refusals, in place of the app's response: 409 session-limit if the subject has its maximum of sessions, which does not count as
// a failed login; 403 login-revoked if the subject is revoked up to a time in the future; 502 login-response-invalid if the app's fields are invalid; 503 tokens-unavailable if the store or the key is
// unavailable. A login always needs both, so there is no onFailure. In shadow mode the app's response is passed on without
// tokens; the session limit does not refuse at all (token.LoginServiceConfig.Shadow).
func New(c Config) (stage.Stage, error) {
	if c.LoginService == nil || c.TokenTransport == nil {
		return nil, errors.New("building the login stage: LoginService and TokenTransport are required")
	}
	e := &loginStage{Config: c, ignored: newIgnored(c.Logger, c.Now)}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error { return e.serve(w, r, next) })
	}, nil
}

func (e *loginStage) serve(w http.ResponseWriter, r *http.Request, next stage.Handler) error {
	target := request.From(r).Target()
	if r.Method == http.MethodHead || e.Match == nil || !e.Match.MatchEvery(r.Method, &target) { // a match of GET includes HEAD
		defer e.ignored.report(r, ignoredRoute)
		return next.ServeHTTP(w, r)
	}
	if err := e.TokenTransport.CheckOrigin(r); err != nil {
		return err // login CSRF: the user would act in the attacker's account
	}
	if e.TokenTransport.Delivery() == transport.Body {
		delete(r.Header, "Accept-Encoding") // a compressed body could not be read
	}
	x := &loginResponse{
		login: func() (token.Tokens, bool, error) { return e.login(r) }, tokenTransport: e.TokenTransport,
		ignore: func(reason string) { e.ignored.report(r, reason) },
	}
	delivered := false
	defer func() {
		if !delivered && x.replaced { // also where the response broke off, which is a panic
			e.abandon(r, x.tokens.Session.ID)
		}
	}()
	err := response.Intercept(w, r, next, x.decide)
	delivered = err == nil
	return err
}

// abandonTimeout bounds the wait for the store after the client has disconnected.
const abandonTimeout = 2 * time.Second

// abandon ends the session of a login whose tokens were not delivered, so that it does not count towards the limit.
func (e *loginStage) abandon(r *http.Request, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), abandonTimeout)
	defer cancel()
	e.LoginService.Abandon(ctx, id)
}

// login is called for the app's response if its status is that of a login. It reports false if that is to be passed on unchanged. The client gets an error in
// its place.
func (e *loginStage) login(r *http.Request) (token.Tokens, bool, error) {
	info := request.From(r)
	subjects, named := info.AppFields[subjectField]
	if !named {
		e.ignored.report(r, ignoredNoSubject)
		return token.Tokens{}, false, nil
	}
	tokens, err := e.begin(r, subjects, info.AppFields[claimsField])
	if err == nil {
		if tokens.OverLimit {
			_ = info.Refuse(request.Rule{Stage: "session", Shadow: true}, refuseLogin(session.ErrFull))
		}
		info.Sensitive = true
		e.LoginService.Emit(r.Context(), event.Event{Kind: event.Login, Outcome: event.Success, Actor: tokens.Session.Actor()})
		return tokens, true, nil
	}
	refusal := refuseLogin(err)
	e.LoginService.Emit(r.Context(), token.FailedLogin(strings.Join(subjects, ","), string(refusal.Code), err))
	return token.Tokens{}, false, info.Refuse(request.Rule{Stage: "token", Name: "login"}, refusal)
}

func (e *loginStage) begin(r *http.Request, subjects, claims []string) (token.Tokens, error) {
	if len(subjects) != 1 || len(claims) > 1 {
		return token.Tokens{}, token.ErrInvalid
	}
	subject, err := e.FieldEncoding.decode(subjectField, subjects[0])
	if err != nil {
		return token.Tokens{}, fmt.Errorf("%w: %w", token.ErrInvalid, err)
	}
	l := token.Login{Subject: subject, Device: transport.Device(r), Replace: func(ctx context.Context) error { return e.endPrevious(ctx, r) }}
	if len(claims) == 1 {
		if strings.TrimSpace(claims[0]) == "" {
			return token.Tokens{}, token.ErrInvalid
		}
		text, err := e.FieldEncoding.decode(claimsField, claims[0])
		if err != nil {
			return token.Tokens{}, fmt.Errorf("%w: %w", token.ErrInvalid, err)
		}
		l.Claims = []byte(text)
	}
	return e.LoginService.Begin(r.Context(), l)
}

// endPrevious ends the session of the tokens that the client sent.
func (e *loginStage) endPrevious(ctx context.Context, r *http.Request) error {
	if sid := e.LoginService.OwnSessionID(request.From(r).Identity); sid != "" {
		if _, err := e.LoginService.EndOwn(ctx, sid); err != nil {
			return fmt.Errorf("ending previous session: %w", err)
		}
		return nil
	}
	if refresh := transport.RefreshToken(r); refresh != "" {
		if _, err := e.LoginService.EndByRefreshToken(ctx, refresh); err != nil {
			return fmt.Errorf("ending previous session: %w", err)
		}
	}
	return nil
}

func refuseLogin(err error) *httperr.Error {
	switch {
	case errors.Is(err, session.ErrFull):
		return &httperr.Error{
			Status: http.StatusConflict, Code: "session-limit", Cause: err,
			Detail: "The credentials are correct, but this account has its maximum number of sessions. Log out on another device and try again.",
		}
	case errors.Is(err, token.ErrRevoked):
		return &httperr.Error{
			Status: http.StatusForbidden, Code: "login-revoked", Cause: err,
			Detail: "The credentials are correct, but this account is blocked for some time.",
		}
	case errors.Is(err, token.ErrInvalid), errors.Is(err, token.ErrTooLarge):
		return &httperr.Error{Status: http.StatusBadGateway, Code: "login-response-invalid", Cause: err, Detail: "The application named no valid subject."}
	default:
		return transport.Unavailable(err)
	}
}
