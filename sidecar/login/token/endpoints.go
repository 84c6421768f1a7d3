package token

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/session"
)

// DefaultPrefix is where the endpoints are unless the policy says otherwise.
const DefaultPrefix = "/auth"

// EndpointsConfig is what the endpoints are made of.
type EndpointsConfig struct {
	// Prefix is a path without trailing slash; DefaultPrefix where empty.
	Prefix         string
	LoginService   *LoginService
	TokenTransport *TokenTransport
	Metadata       *Metadata
	// Realm is the realm of WWW-Authenticate; empty for "postern".
	Realm string
}

type endpoints struct {
	EndpointsConfig
	// realm is quoted.
	realm  string
	routes map[string]methods
	// one is the path below which a session's id stands.
	one string
}

// methods are a path's handlers.
type methods map[string]func(http.ResponseWriter, *http.Request) error

// Endpoints returns the stage that answers, under the prefix,
//
//	POST   /refresh        new tokens for a refresh token (RFC 6749 §6)
//	POST   /logout         end this session
//	POST   /logout-all     end every session of the person
//	GET    /sessions       list them
//	DELETE /sessions/{id}  end one of them
//
// and GET of the documents of Metadata. Every other path goes on, also under the prefix, for the app may have its own
// there. It must come after authentication and the revocation check. Authorization before it must let Paths through: refresh
// takes no access token, and what needs one is refused here with 401. So whatever Paths matches is answered here, by any
// method and with a slash behind it: had it gone on, it would have reached the app without authorization. With delivery
// Cookie the Guard must come before.
//
// The store or the key away: 503, and nothing has changed that a second attempt would not repeat.
func Endpoints(c EndpointsConfig) (stage.Stage, error) {
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.LoginService == nil || c.TokenTransport == nil || c.Metadata == nil {
		return nil, errors.New("building token endpoints: LoginService, TokenTransport and Metadata are required")
	}
	if err := check.PathPrefix(c.Prefix); err != nil {
		return nil, fmt.Errorf("building token endpoints: prefix %q: %w", c.Prefix, err)
	}
	realm, err := httperr.QuoteRealm(c.Realm)
	if err != nil {
		return nil, fmt.Errorf("building token endpoints: %w", err)
	}
	e := &endpoints{EndpointsConfig: c, realm: realm, one: c.Prefix + "/sessions/"}
	e.routes = map[string]methods{
		c.Prefix + "/refresh":    {http.MethodPost: e.refresh},
		c.Prefix + "/logout":     {http.MethodPost: e.logout},
		c.Prefix + "/logout-all": {http.MethodPost: e.logoutAll},
		c.Prefix + "/sessions":   {http.MethodGet: e.list, http.MethodHead: e.list},
	}
	for path, document := range c.Metadata.documents() {
		if _, taken := e.routes[path]; taken {
			return nil, fmt.Errorf("building token endpoints: %s is taken twice", path)
		}
		e.routes[path] = methods{http.MethodGet: document.serve, http.MethodHead: document.serve}
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error { return e.serve(w, r, next) })
	}, nil
}

// Paths are the endpoints' and the documents', as patterns of package route: authorization must let them through.
func Paths(prefix string, m *Metadata) []string {
	paths := []string{prefix + "/refresh", prefix + "/logout", prefix + "/logout-all", prefix + "/sessions", prefix + "/sessions/*"}
	return slices.AppendSeq(paths, maps.Keys(m.documents()))
}

func (e *endpoints) serve(w http.ResponseWriter, r *http.Request, next stage.Handler) error {
	path := strings.TrimSuffix(request.From(r).Path, "/") // as package route matches Paths
	handlers, ok := e.routes[path]
	if !ok {
		id, under := strings.CutPrefix(path, e.one)
		if !under || strings.Contains(id, "/") || id == "" {
			return next.ServeHTTP(w, r)
		}
		handlers = methods{http.MethodDelete: func(w http.ResponseWriter, r *http.Request) error { return e.end(w, r, id) }}
	}
	handle, ok := handlers[r.Method]
	if !ok {
		return otherMethod(w, r, handlers)
	}
	if request.From(r).ByCookie { // a provider's, too, which the Guard does not know
		if err := e.TokenTransport.refuseCrossOrigin(r); err != nil {
			return err
		}
	}
	return handle(w, r)
}

// otherMethod answers OPTIONS (not a preflight: those are answered further out), and refuses the rest.
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
	e := &httperr.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "This endpoint does not know the method."}
	e.Header = http.Header{"Allow": allow}
	return e
}

// caller is the person who asks: the owner of the sessions, and the id of the present one where one is kept.
func (e *endpoints) caller(r *http.Request) (owner session.Owner, current string, err error) {
	info := request.From(r)
	if id := info.Identity; id != nil && id.Subject != "" {
		current = info.Session
		if owner = e.LoginService.Owner(id.Issuer, id.Subject); owner.Issuer == "" {
			current = sidOf(id)
		}
		return owner, current, nil
	}
	if info.AuthnErr != nil {
		return session.Owner{}, "", info.AuthnErr
	}
	refusal := &httperr.Error{Status: http.StatusUnauthorized, Code: "unauthenticated", Detail: "A token is required."}
	return session.Owner{}, "", refusal.With("WWW-Authenticate", `Bearer realm=`+e.realm)
}

// logout ends the session of the refresh token or of the access token, also one that is kept of an external issuer's, and is
// content where that has ended before.
func (e *endpoints) logout(w http.ResponseWriter, r *http.Request) error {
	refresh, err := e.refreshToken(w, r)
	var bad *bodyError
	if errors.As(err, &bad) {
		return &httperr.Error{Status: bad.status, Code: "invalid-request", Detail: bad.Description, Cause: err}
	}
	owner, sid, err := e.caller(r)
	switch {
	case refresh == "" && err != nil:
		return err
	case refresh == "" && sid == "": // of an external issuer, who alone can log out
		return notOurs()
	}
	if refresh != "" {
		if _, err := e.LoginService.EndPresented(r.Context(), refresh); err != nil {
			return unavailable(err)
		}
	}
	if sid != "" {
		end := e.LoginService.End
		if owner.Issuer == "" {
			end = e.LoginService.EndOwn
		}
		if _, err := end(r.Context(), sid); err != nil {
			return unavailable(err)
		}
	}
	return e.done(w, "logout")
}

func notOurs() error {
	return &httperr.Error{Status: http.StatusForbidden, Code: "not-our-session", Detail: "This session is kept by another issuer; log out there."}
}

// logoutAll ends every session of the person, the present one too. Where none is kept of an external issuer's, nothing would end.
func (e *endpoints) logoutAll(w http.ResponseWriter, r *http.Request) error {
	owner, current, err := e.caller(r)
	if err != nil {
		return err
	}
	ended, err := e.LoginService.EndAll(r.Context(), owner, "")
	if err != nil {
		return unavailable(err)
	}
	if ended == 0 && current == "" && owner.Issuer != "" {
		return notOurs()
	}
	return e.done(w, "logout_all")
}

// done answers that a session has ended, and takes its cookies back.
func (e *endpoints) done(w http.ResponseWriter, event string) error {
	e.LoginService.observe(event, "ok")
	noStore(w.Header())
	e.TokenTransport.clearCookies(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// list answers with the person's sessions.
func (e *endpoints) list(w http.ResponseWriter, r *http.Request) error {
	owner, current, err := e.caller(r)
	if err != nil {
		return err
	}
	sessions, err := e.LoginService.List(r.Context(), owner)
	if err != nil {
		return unavailable(err)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"sessions": Views(sessions, current)})
}

// end ends one of the person's sessions; one that is not theirs is as unknown as one that is not there.
func (e *endpoints) end(w http.ResponseWriter, r *http.Request, id string) error {
	owner, current, err := e.caller(r)
	if err != nil {
		return err
	}
	ended, err := e.LoginService.EndOwned(r.Context(), owner, id)
	if err != nil {
		return unavailable(err)
	}
	if !ended {
		return &httperr.Error{Status: http.StatusNotFound, Code: "no-session", Detail: "You have no such session."}
	}
	if id == current {
		return e.done(w, "session_end")
	}
	e.LoginService.observe("session_end", "ok")
	noStore(w.Header())
	w.WriteHeader(http.StatusNoContent)
	return nil
}
