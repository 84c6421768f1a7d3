// Package endpoints serves the HTTP endpoints of logins: refresh, logout and sessions under the policy's prefix, and the documents
// (JWKS, discovery) with which other services verify the tokens.
package endpoints

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// DefaultPrefix is the default path prefix of the endpoints.
const DefaultPrefix = "/auth"

// Config configures the endpoints. LoginService, TokenTransport and Metadata are required.
type Config struct {
	// Prefix is a path without trailing slash; it defaults to DefaultPrefix.
	Prefix         string
	LoginService   *token.LoginService
	TokenTransport *transport.TokenTransport
	Metadata       *Metadata
	// Realm is the realm of WWW-Authenticate; it defaults to "postern".
	Realm string
	// ClearSiteData is what a logout makes the browser delete; it defaults to ClearNone.
	ClearSiteData ClearSiteData
	// LogoutRedirect is where a browser goes after a form has posted to logout or logout-all. It must pass check.RedirectPath. If it is
	// empty, forms get 204, as scripts do.
	LogoutRedirect string
}

type endpoints struct {
	Config
	// realm is quoted. clear is the value of Clear-Site-Data; empty for none.
	realm, clear string
	routes       map[string]methods
	// sessionPrefix is the path of a session without its id.
	sessionPrefix string
}

// methods are the handlers of a path, by method.
type methods map[string]func(http.ResponseWriter, *http.Request) error

// New returns the stage that serves, under the prefix,
//
//	POST   /refresh        new tokens for a refresh token (RFC 6749 §6)
//	POST   /logout         end this session
//	POST   /logout-all     end every session of the user
//	GET    /sessions       list them
//	DELETE /sessions/{id}  end one of them
//
// and GET of the documents of Metadata. Every other path is passed on, also under the prefix, where the app can have its own
// paths. The stage must come after authentication and the revocation check, and with delivery Cookie after the guard of
// TokenTransport. Authorization before it must allow Paths: refresh takes no access token, and endpoints that need one respond
// with 401. So the stage itself responds to everything that Paths matches, with any method and with a trailing slash. Otherwise
// such a request would reach the app without authorization.
//
// If the store or the key is unavailable the response is 503, and the request can be repeated.
func New(c Config) (stage.Stage, error) {
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.LoginService == nil || c.TokenTransport == nil || c.Metadata == nil {
		return nil, errors.New("building token endpoints: LoginService, TokenTransport and Metadata are required")
	}
	if err := check.PathPrefix(c.Prefix); err != nil {
		return nil, fmt.Errorf("building token endpoints: prefix %q: %w", c.Prefix, err)
	}
	if c.LogoutRedirect != "" {
		if err := check.RedirectPath(c.LogoutRedirect); err != nil {
			return nil, fmt.Errorf("building token endpoints: logout redirect %q: %w", c.LogoutRedirect, err)
		}
	}
	realm, err := httperr.QuoteRealm(c.Realm)
	if err != nil {
		return nil, fmt.Errorf("building token endpoints: %w", err)
	}
	clear, err := c.ClearSiteData.value()
	if err != nil {
		return nil, fmt.Errorf("building token endpoints: %w", err)
	}
	e := &endpoints{Config: c, realm: realm, clear: clear, sessionPrefix: c.Prefix + "/sessions/"}
	e.routes = map[string]methods{
		c.Prefix + "/refresh":    {http.MethodPost: e.refresh},
		c.Prefix + "/logout":     {http.MethodPost: e.logout},
		c.Prefix + "/logout-all": {http.MethodPost: e.logoutAll},
		c.Prefix + "/sessions":   {http.MethodGet: e.list, http.MethodHead: e.list},
	}
	for path, document := range c.Metadata.documents() {
		if _, taken := e.routes[path]; taken {
			return nil, fmt.Errorf("building token endpoints: two endpoints have the path %s", path)
		}
		e.routes[path] = methods{http.MethodGet: document.serve, http.MethodHead: document.serve}
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error { return e.serve(w, r, next) })
	}, nil
}

// Paths returns the paths of the endpoints and documents, as patterns of package route. Authorization must allow them.
func Paths(prefix string, m *Metadata) []string {
	paths := []string{prefix + "/refresh", prefix + "/logout", prefix + "/logout-all", prefix + "/sessions", prefix + "/sessions/*"}
	return slices.AppendSeq(paths, maps.Keys(m.documents()))
}

// RefreshPaths returns those of Paths at which the refresh token is used, or no user is needed.
func RefreshPaths(prefix string, m *Metadata) []string {
	return slices.AppendSeq([]string{prefix + "/refresh", prefix + "/logout"}, maps.Keys(m.documents()))
}

func (e *endpoints) serve(w http.ResponseWriter, r *http.Request, next stage.Handler) error {
	path := strings.TrimSuffix(request.From(r).Path, "/") // package route ignores a trailing slash, too
	handlers, ok := e.routes[path]
	if !ok {
		id, under := strings.CutPrefix(path, e.sessionPrefix)
		if !under || strings.Contains(id, "/") || id == "" {
			return next.ServeHTTP(w, r)
		}
		handlers = methods{http.MethodDelete: func(w http.ResponseWriter, r *http.Request) error { return e.end(w, r, id) }}
	}
	handle, ok := handlers[r.Method]
	if !ok {
		return otherMethod(w, r, handlers)
	}
	if request.From(r).ByCookie { // also for the cookie of an external issuer, which the guard does not check
		if err := e.TokenTransport.RefuseCrossOrigin(r); err != nil {
			return err
		}
	}
	return handle(w, r)
}

// otherMethod responds to OPTIONS and refuses other methods. Preflights are handled by an outer stage.
func otherMethod(w http.ResponseWriter, r *http.Request, handlers methods) error {
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete} {
		if _, ok := handlers[method]; ok {
			allow = append(allow, method)
		}
	}
	if r.Method == http.MethodOptions {
		w.Header()["Allow"] = allow
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	e := &httperr.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "This endpoint does not support the method."}
	e.Header = http.Header{"Allow": allow}
	return e
}

// caller returns the owner of the sessions of the requesting user, and the id of the current session; empty if it is not tracked.
func (e *endpoints) caller(r *http.Request) (owner session.Owner, current string, err error) {
	info := request.From(r)
	if id := info.Identity; id != nil && id.Subject != "" {
		current = info.Session
		if owner = e.LoginService.Owner(id.Issuer, id.Subject); owner.Issuer == "" {
			current = e.LoginService.OwnSessionID(id)
		}
		return owner, current, nil
	}
	if info.AuthnErr != nil {
		return session.Owner{}, "", info.AuthnErr
	}
	refusal := &httperr.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Detail: "A token is required."}
	return session.Owner{}, "", refusal.With("WWW-Authenticate", `Bearer realm=`+e.realm)
}

// logout ends the session of the refresh token and that of the access token, own or external. A session that has already ended
// is not an error, and neither are missing cookies: after a logout the browser has none.
func (e *endpoints) logout(w http.ResponseWriter, r *http.Request) error {
	refresh, err := e.refreshToken(r)
	var bad *bodyError
	if errors.As(err, &bad) {
		return &httperr.Error{Status: bad.status, Code: "invalid-request", Detail: bad.Description, Cause: err}
	}
	owner, sid, err := e.caller(r)
	switch {
	case refresh == "" && err != nil:
		return e.loggedOut(w, r, err)
	case refresh == "" && sid == "": // an untracked external session, which only its issuer can end
		return notOurs()
	}
	if refresh != "" {
		if _, err := e.LoginService.EndByRefreshToken(r.Context(), refresh); err != nil {
			return transport.Unavailable(err)
		}
	}
	if sid != "" {
		end := e.LoginService.End
		if owner.Issuer == "" {
			end = e.LoginService.EndOwn
		}
		if _, err := end(r.Context(), sid); err != nil {
			return transport.Unavailable(err)
		}
	}
	return e.done(w, r, event.Logout)
}

func notOurs() error {
	return &httperr.Error{Status: http.StatusForbidden, Code: "not-our-session", Detail: "This session belongs to another issuer. Log out there."}
}

// logoutAll ends every session of the user, including the current one. It refuses if the sessions of an external issuer are not
// tracked, because nothing would end.
func (e *endpoints) logoutAll(w http.ResponseWriter, r *http.Request) error {
	owner, current, err := e.caller(r)
	if err != nil {
		return err
	}
	ended, err := e.LoginService.EndAll(r.Context(), owner, "")
	if err != nil {
		return transport.Unavailable(err)
	}
	if ended == 0 && current == "" && owner.Issuer != "" {
		return notOurs()
	}
	return e.done(w, r, event.LogoutAll)
}

// done responds that the current session has ended, and clears the cookies.
func (e *endpoints) done(w http.ResponseWriter, r *http.Request, kind event.Kind) error {
	e.LoginService.Emit(r.Context(), event.Event{Kind: kind, Outcome: event.Success})
	e.clearClient(w, r)
	return nil
}

// clearClient makes the browser delete what it has. It responds with 204, or after a form with a redirect to the configured page.
func (e *endpoints) clearClient(w http.ResponseWriter, r *http.Request) {
	transport.NoStore(w.Header())
	e.TokenTransport.ClearCookies(w.Header())
	if e.clear != "" {
		w.Header().Set("Clear-Site-Data", e.clear)
	}
	if e.LogoutRedirect != "" && r.Method == http.MethodPost && navigates(r.Header) {
		w.Header().Set("Location", e.LogoutRedirect)
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// navigates reports whether a browser shows the response as a page, as after a form. Browsers send Sec-Fetch-Mode over HTTPS (Fetch
// Metadata Request Headers, section 2.2). Without it Accept decides: scripts do not ask for HTML unless they say so.
func navigates(h http.Header) bool {
	if mode := h["Sec-Fetch-Mode"]; len(mode) > 0 {
		return len(mode) == 1 && mode[0] == "navigate"
	}
	return httperr.PrefersHTML(h.Get("Accept"))
}

// loggedOut responds to a logout for which caller returned err. If the client's token is no longer valid, or its cookies are deleted,
// it is logged out already (as in RFC 7009 §2.2). A page of another origin must not delete cookies in this way.
func (e *endpoints) loggedOut(w http.ResponseWriter, r *http.Request, err error) error {
	cookies := e.TokenTransport.Delivery() == transport.Cookie
	if httperr.From(err).Status != http.StatusUnauthorized || !cookies && request.From(r).AuthnErr == nil {
		return err
	}
	if err := e.TokenTransport.CheckOrigin(r); err != nil {
		return err
	}
	e.clearClient(w, r)
	return nil
}

// list responds with the sessions of the user.
func (e *endpoints) list(w http.ResponseWriter, r *http.Request) error {
	owner, current, err := e.caller(r)
	if err != nil {
		return err
	}
	sessions, err := e.LoginService.List(r.Context(), owner)
	if err != nil {
		return transport.Unavailable(err)
	}
	return transport.WriteJSON(w, http.StatusOK, map[string]any{"sessions": session.Resources(sessions, current)})
}

// end ends one of the user's sessions. For a session of another user the response is the same as for an unknown one.
func (e *endpoints) end(w http.ResponseWriter, r *http.Request, id string) error {
	owner, current, err := e.caller(r)
	if err != nil {
		return err
	}
	ended, err := e.LoginService.EndOwned(r.Context(), owner, id)
	if err != nil {
		return transport.Unavailable(err)
	}
	if !ended {
		return &httperr.Error{Status: http.StatusNotFound, Code: "no-session", Detail: "You have no such session."}
	}
	if id == current {
		return e.done(w, r, event.LogoutSession)
	}
	e.LoginService.Emit(r.Context(), event.Event{Kind: event.LogoutSession, Outcome: event.Success})
	transport.NoStore(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}
