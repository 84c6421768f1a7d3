// Package renewal renews the access token of a browser in passing, so that pages, deep links and event streams work without a
// script that calls the refresh endpoint.
package renewal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"

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

// Config configures the stage. LoginService, TokenTransport and OtherToken are required.
type Config struct {
	LoginService *token.LoginService
	// TokenTransport has delivery Cookie.
	TokenTransport *transport.TokenTransport
	// Skip selects the routes that use the refresh token themselves, or that need no user; nil selects none.
	Skip *route.Matcher
	// OtherToken reports whether a request has a token elsewhere than in the access cookie. Such a request is not renewed: its
	// client did not rely on the cookies, and two tokens would be refused.
	OtherToken func(http.Header) bool
	// Leeway is how long authentication accepts an expired access token.
	Leeway time.Duration
	// Realm is the realm of WWW-Authenticate; it defaults to "postern".
	Realm string
	// Now defaults to time.Now.
	Now func() time.Time
}

type renewer struct {
	Config
	realm   string
	flights singleflight.Group
}

// New returns the stage. It must come after the guard of TokenTransport, which refuses unsafe requests of other origins, and before
// authentication. A request that has a refresh cookie, and no access cookie that is still valid, is renewed: the refresh token is
// rotated as at the refresh endpoint, the request continues with the new access token, which authentication, revocation and session
// check like any other, and the response, of whatever status, sets the new cookies and is not cached.
//
// Concurrent requests with the same refresh token are one rotation: in a sidecar they share it, and between sidecars the store makes
// the later ones retries within the grace. Later reuse ends the session, as at the refresh endpoint.
//
// A page of another origin cannot cause a rotation, except by navigating the whole window, as a link does: the browser might drop
// the cookies of the response, and the next use of the old token would count as reuse.
//
// If the refresh token is not valid, the cookies are deleted, and AuthnErr is 401 session-ended. If the store or the key is
// unavailable, AuthnErr is 503 tokens-unavailable, whatever onFailure says: nothing can stand in for a token that has expired. The
// stage always calls next, so routes that need no identity get an anonymous request.
func New(c Config) (stage.Stage, error) {
	if c.LoginService == nil || c.TokenTransport == nil || c.OtherToken == nil {
		return nil, errors.New("building renewal: LoginService, TokenTransport and OtherToken are required")
	}
	if c.TokenTransport.Delivery() != transport.Cookie {
		return nil, errors.New("building renewal: the delivery must be Cookie")
	}
	if c.Leeway < 0 {
		return nil, fmt.Errorf("building renewal: leeway %s is negative", c.Leeway)
	}
	realm, err := httperr.QuoteRealm(c.Realm)
	if err != nil {
		return nil, fmt.Errorf("building renewal: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &renewer{Config: c, realm: realm}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error { return s.serve(w, r, next) })
	}, nil
}

func (s *renewer) serve(w http.ResponseWriter, r *http.Request, next stage.Handler) error {
	presented := transport.RefreshToken(r)
	if presented == "" || !s.applies(r) {
		return next.ServeHTTP(w, r)
	}
	tokens, err := s.refresh(r, presented)
	if err != nil {
		s.TokenTransport.ReplaceAccessToken(r.Header, "") // it has expired, and would only hide the reason
		return s.refused(w, r, next, err)
	}
	s.TokenTransport.ReplaceAccessToken(r.Header, tokens.Token)
	// The cookies are set now, because the header of an accepted upgrade is not written through the ResponseWriter.
	s.TokenTransport.SetCookies(w.Header(), tokens)
	return uncached(next).ServeHTTP(w, r)
}

// refused passes the request on without an identity.
func (s *renewer) refused(w http.ResponseWriter, r *http.Request, next stage.Handler, err error) error {
	info := request.From(r)
	if !errors.Is(err, token.ErrGrant) {
		info.AuthnErr = transport.Unavailable(err)
		return next.ServeHTTP(w, r)
	}
	info.AuthnErr = httperr.InvalidToken("session-ended", s.realm, "The session has ended")
	s.TokenTransport.ClearCookies(w.Header())
	return uncached(next).ServeHTTP(w, r)
}

// uncached keeps the response out of caches, whatever the app says, because it has cookies.
func uncached(next stage.Handler) stage.Handler {
	return response.Decorate(func(_ *http.Request, _ int, h http.Header) { transport.NoStore(h) })(next)
}

// applies reports whether the request needs a new access token, and may have one.
func (s *renewer) applies(r *http.Request) bool {
	if r.Method == http.MethodOptions || s.Skip != nil && s.Skip.Match(r.Method, request.From(r).Path) {
		return false
	}
	access, n := s.TokenTransport.AccessToken(r.Header)
	if n > 1 || n == 1 && s.Now().Before(expiry(access).Add(s.Leeway)) {
		return false
	}
	return !s.OtherToken(r.Header) && (s.TokenTransport.OwnPage(r) || opensPage(r))
}

// opensPage reports whether the browser opens the response in place of the current page, as after a click on a link of another site
// (W3C Fetch Metadata §2). Frames, images and scripts are none of these.
func opensPage(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && len(r.Header["Upgrade"]) == 0 &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// refreshFor bounds a rotation, which other requests wait for as well, and so must not end with the first client's request.
const refreshFor = 10 * time.Second

// refresh rotates the refresh token, once for all concurrent requests of a device.
func (s *renewer) refresh(r *http.Request, presented string) (token.Tokens, error) {
	device := transport.Device(r)
	key := sha256.Sum256([]byte(presented + "\x00" + device.Address.String() + "\x00" + device.UserAgent))
	result, err, _ := s.flights.Do(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), refreshFor)
		defer cancel()
		tokens, outcome, err := s.LoginService.Refresh(ctx, presented, device)
		s.emit(r, tokens, outcome, err)
		return tokens, err
	})
	tokens, _ := result.(token.Tokens)
	return tokens, err
}

// emit emits the same event as the refresh endpoint.
func (s *renewer) emit(r *http.Request, tokens token.Tokens, outcome session.Outcome, err error) {
	e := event.Event{Kind: event.Refresh, Outcome: event.Success, Reason: string(outcome), Actor: tokens.Session.Actor()}
	switch {
	case err == nil:
	case errors.Is(err, token.ErrGrant):
		e.Outcome = event.Refused
	default:
		e.Outcome, e.Reason = event.Failed, "unavailable"
	}
	s.LoginService.Emit(r.Context(), e)
}
