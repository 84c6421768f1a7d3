package token

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
	"github.com/posterndev/postern/sidecar/httpkit/route"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/session"
)

// The fields by which an app says who has logged in.
const (
	subjectField = "Postern-Subject"
	claimsField  = "Postern-Claims"
)

// LoginStageConfig is what the login stage is made of.
type LoginStageConfig struct {
	// Match names the routes; required, for a route that is not named must not log anybody in.
	Match          *route.Matcher
	LoginService   *LoginService
	TokenTransport *TokenTransport
}

type loginStage struct{ LoginStageConfig }

// LoginStage returns the stage that turns the app's answer into a login. It must come after the stages that compress or
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
// passes the app's answer on without tokens; the cap does not refuse in Shadow at all (LoginServiceConfig.Shadow).
func LoginStage(c LoginStageConfig) (stage.Stage, error) {
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
	if err := e.TokenTransport.checkOrigin(r); err != nil {
		return err // login CSRF: the person would act in an account of the attacker's
	}
	if e.TokenTransport.delivery == Body {
		delete(r.Header, "Accept-Encoding") // what the app compressed could not be read
	}
	x := newLoginWriter(w, func() (Tokens, bool, error) { return e.login(r) }, e.TokenTransport)
	delivered := false
	defer func() {
		if !delivered && x.mode == replace { // also where the answer broke off, which is a panic
			e.abandon(r, x.tokens.Session.ID)
		}
	}()
	err := next.ServeHTTP(x, r)
	if err == nil {
		err = x.finish()
	}
	delivered = err == nil
	return err
}

// abandonFor bounds the wait for the store after the client has gone.
const abandonFor = 2 * time.Second

// abandon ends the session of a login whose tokens nobody has got: it would take up a place of the cap.
func (e *loginStage) abandon(r *http.Request, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), abandonFor)
	defer cancel()
	e.LoginService.abandon(ctx, id)
}

// login is called for the app's 2xx answer. It reports false where that is to pass as it is; an error is what the client gets
// in its place.
func (e *loginStage) login(r *http.Request) (Tokens, bool, error) {
	info := request.From(r)
	subjects, said := info.AppFields[subjectField]
	if !said {
		return Tokens{}, false, nil
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
	e.LoginService.Emit(r.Context(), FailedLogin(strings.Join(subjects, ","), string(refusal.Code), err))
	return Tokens{}, false, info.Refuse(request.Rule{Stage: "token", Name: "login"}, refusal)
}

func (e *loginStage) begin(r *http.Request, subjects, claims []string) (Tokens, error) {
	if len(subjects) != 1 || len(claims) > 1 {
		return Tokens{}, ErrInvalid
	}
	l := Login{Subject: subjects[0], Device: device(r), Replace: func(ctx context.Context) error { return e.endPresented(ctx, r) }}
	if len(claims) == 1 {
		if strings.TrimSpace(claims[0]) == "" {
			return Tokens{}, ErrInvalid
		}
		l.Claims = []byte(claims[0])
	}
	return e.LoginService.Begin(r.Context(), l)
}

// endPresented ends what the client was logged in as before.
func (e *loginStage) endPresented(ctx context.Context, r *http.Request) error {
	if sid := ownSession(r, e.LoginService.cfg.Issuer.cfg.Issuer); sid != "" {
		if _, err := e.LoginService.EndOwn(ctx, sid); err != nil {
			return fmt.Errorf("ending the session before: %w", err)
		}
		return nil
	}
	if refresh := presented(r); refresh != "" {
		if _, err := e.LoginService.EndPresented(ctx, refresh); err != nil {
			return fmt.Errorf("ending the session before: %w", err)
		}
	}
	return nil
}

// device is what the request says of its device.
func device(r *http.Request) session.Device {
	return session.NewDevice(r.UserAgent(), request.From(r).ClientAddr)
}

// retryAfter is how long a client waits for the store or the key, in seconds.
const retryAfter = "5"

func refuseLogin(err error) *httperr.Error {
	switch {
	case errors.Is(err, session.ErrFull):
		return &httperr.Error{
			Status: http.StatusConflict, Code: "session-limit", Cause: err,
			Detail: "The login is right, but this account is logged in on as many devices as it may be. Log out on one of them and try again.",
		}
	case errors.Is(err, ErrInvalid), errors.Is(err, ErrTooLarge):
		return &httperr.Error{Status: http.StatusBadGateway, Code: "login-response-invalid", Cause: err, Detail: "The application named no usable subject."}
	default:
		return unavailable(err)
	}
}

func unavailable(err error) *httperr.Error {
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "tokens-unavailable", Cause: err, Detail: "Logins cannot be handled at present."}
	return e.With("Retry-After", retryAfter)
}
