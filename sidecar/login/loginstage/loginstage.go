// Package loginstage turns the response of an app that has checked a password into a login.
package loginstage

import (
	"context"
	"errors"
	"fmt"
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

// The fields by which an app says who has logged in.
const (
	subjectField = "Postern-Subject"
	claimsField  = "Postern-Claims"
)

// Config is what the login stage is made of.
type Config struct {
	// Match names the routes; required, for a route that is not named must not log anybody in.
	Match          *route.Matcher
	LoginService   *token.LoginService
	TokenTransport *transport.TokenTransport
}

type loginStage struct{ Config }

// New returns the stage that turns the app's answer into a login. It must come after the stages that compress or
// cache, next to the app. On the routes of Match, and for a 2xx answer with Postern-Subject:
//
//   - a new session begins; one that the client presented is ended (session fixation);
//   - with delivery Body the answer is 200 with the JSON of RFC 6749 §5.1. Where the app's own body is a JSON object of up to
//     64 KiB its members stand beside the tokens, which win where names are equal (§5.1 lets clients expect more members);
//     any other body of the app is dropped. The app's other header fields stay, but for those that describe its body;
//   - with delivery Cookie the app's answer goes through with the cookies added. A login from a page of another origin is
//     refused with 403 cross-origin before the app sees it.
//
// Refusals, in place of the app's answer: 409 session-limit where the subject has as many sessions as it may have, which is
// no failed login; 502 login-response-invalid where what the app says cannot be used; 503 tokens-unavailable where the store or the
// key does not answer. A login always needs both, so there is no onFailure to choose. Each is subject to Shadow, which
// passes the app's answer on without tokens; the cap does not refuse in Shadow at all (token.LoginServiceConfig.Shadow).
func New(c Config) (stage.Stage, error) {
	if c.Match == nil || c.LoginService == nil || c.TokenTransport == nil {
		return nil, errors.New("building the login stage: Match, LoginService and TokenTransport are required")
	}
	e := &loginStage{c}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error { return e.serve(w, r, next) })
	}, nil
}

func (e *loginStage) serve(w http.ResponseWriter, r *http.Request, next stage.Handler) error {
	if r.Method == http.MethodHead || !e.Match.Match(r.Method, request.From(r).Path) { // to Match, HEAD is a GET
		return next.ServeHTTP(w, r)
	}
	if err := e.TokenTransport.CheckOrigin(r); err != nil {
		return err // login CSRF: the person would act in an account of the attacker's
	}
	if e.TokenTransport.Delivery() == transport.Body {
		delete(r.Header, "Accept-Encoding") // what the app compressed could not be read
	}
	x := &loginResponse{login: func() (token.Tokens, bool, error) { return e.login(r) }, tokenTransport: e.TokenTransport}
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

// abandonFor bounds the wait for the store after the client has gone.
const abandonFor = 2 * time.Second

// abandon ends the session of a login whose tokens nobody has got: it would take up a place of the cap.
func (e *loginStage) abandon(r *http.Request, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), abandonFor)
	defer cancel()
	e.LoginService.Abandon(ctx, id)
}

// login is called for the app's 2xx answer. It reports false where that is to pass as it is; an error is what the client gets
// in its place.
func (e *loginStage) login(r *http.Request) (token.Tokens, bool, error) {
	info := request.From(r)
	subjects, said := info.AppFields[subjectField]
	if !said {
		return token.Tokens{}, false, nil
	}
	tokens, err := e.begin(r, subjects, info.AppFields[claimsField])
	if err == nil {
		if tokens.Beyond {
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
	l := token.Login{Subject: subjects[0], Device: transport.Device(r), Replace: func(ctx context.Context) error { return e.endPresented(ctx, r) }}
	if len(claims) == 1 {
		if strings.TrimSpace(claims[0]) == "" {
			return token.Tokens{}, token.ErrInvalid
		}
		l.Claims = []byte(claims[0])
	}
	return e.LoginService.Begin(r.Context(), l)
}

// endPresented ends what the client was logged in as before.
func (e *loginStage) endPresented(ctx context.Context, r *http.Request) error {
	if sid := e.LoginService.OwnSessionID(request.From(r).Identity); sid != "" {
		if _, err := e.LoginService.EndOwn(ctx, sid); err != nil {
			return fmt.Errorf("ending the session before: %w", err)
		}
		return nil
	}
	if refresh := transport.RefreshToken(r); refresh != "" {
		if _, err := e.LoginService.EndPresented(ctx, refresh); err != nil {
			return fmt.Errorf("ending the session before: %w", err)
		}
	}
	return nil
}

func refuseLogin(err error) *httperr.Error {
	switch {
	case errors.Is(err, session.ErrFull):
		return &httperr.Error{
			Status: http.StatusConflict, Code: "session-limit", Cause: err,
			Detail: "The login is right, but this account is logged in on as many devices as it may be. Log out on one of them and try again.",
		}
	case errors.Is(err, token.ErrInvalid), errors.Is(err, token.ErrTooLarge):
		return &httperr.Error{Status: http.StatusBadGateway, Code: "login-response-invalid", Cause: err, Detail: "The application named no usable subject."}
	default:
		return transport.Unavailable(err)
	}
}
