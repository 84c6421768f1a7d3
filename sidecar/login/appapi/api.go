// Package loopback is the API for the app in the pod: issue, introspect and revoke tokens, list and end a subject's
// sessions, hash and verify passwords. openapi.json describes it, and is served at /openapi.json. What the policy has no
// section for answers 404 not-enabled.
//
// Whoever reaches it may log in as anybody, so it is to be bound to 127.0.0.1 alone. What could still bring a stranger's
// request there is refused: a browser in the pod's network (Origin, Sec-Fetch-*), a name that was rebound to 127.0.0.1
// (Host), a proxy that forwards to it (Forwarded, X-Forwarded-*, X-Real-IP, Via), and an app that is made to fetch a URL of a
// stranger's choice (no RequestHeader). Bodies are JSON, or forms where RFC 7662 and RFC 7009 say so, up to 32 KiB.
package appapi

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/token"
)

// RequestHeader must be "true" on every operation but those that RFC 7662 and RFC 7009 describe, which take nothing but a token
// that the caller has, and for which there are clients that send no headers of ours. Whoever makes the app fetch a URL cannot
// choose headers, as a rule; and the sidecar takes it out of the requests that reach the app, so that none is passed on.
const RequestHeader = "Postern-Request"

//go:embed openapi.json
var openAPI []byte

// Checker knows what is revoked; revocation.PolicyChecker does.
type Checker interface {
	Revoked(ctx context.Context, q *revocation.Query) (bool, error)
}

// Passwords hashes; *password.Hasher does.
type Passwords interface {
	Hash(ctx context.Context, password string) (encoded string, err error)
	Verify(ctx context.Context, password, encoded string) (password.Result, error)
}

// Revoker revokes tokens of every issuer that the policy accepts; *token.Revoker does.
type Revoker interface {
	Revoke(ctx context.Context, e revocation.Entry) (int, error)
	// RevokeToken revokes one token, which expires by itself.
	RevokeToken(ctx context.Context, issuer, id string, expires time.Time) error
}

// Verifier verifies tokens of every issuer that the policy accepts; *authn.Verifier does.
type Verifier interface {
	// Verify returns nil where the token is not good, and an error where that is not known.
	Verify(ctx context.Context, token string) (*identity.Identity, error)
	// Accepts reports whether the issuer is one of them.
	Accepts(issuer string) bool
}

// Config is what the API is made of; Logger is required.
type Config struct {
	// LoginService is nil where the policy issues no tokens.
	LoginService *token.LoginService
	// SessionManager is nil where no sessions are kept.
	SessionManager *token.SessionManager
	// Verifier is nil where the policy accepts no tokens; Revoked goes with it.
	Verifier Verifier
	Revoked  Checker
	// Revoker is nil where the policy accepts no tokens, or has nowhere to keep what is revoked.
	Revoker Revoker
	// Passwords is nil where the policy has no passwordPolicy.
	Passwords Passwords
	Logger    *slog.Logger
	// Now is time.Now where nil.
	Now func() time.Time
}

type api struct {
	Config
	mux *http.ServeMux
}

// endpoint is one operation; openapi.json has the same ones.
type endpoint struct {
	method, path string
	handle       stage.Func
	// section of the policy that the operation belongs to, and whether that is there.
	section string
	enabled bool
	// plain operations do without RequestHeader.
	plain bool
}

func (a *api) endpoints() []endpoint {
	const plain, guarded = true, false
	tokens, sessions, accepted := a.LoginService != nil, a.SessionManager != nil, a.Verifier != nil
	revocation, passwords := a.Revoker != nil, a.Passwords != nil
	return []endpoint{
		{http.MethodPost, "/v1/tokens", a.issue, "tokens", tokens, guarded},
		{http.MethodPost, "/v1/introspect", a.introspect, "tokens or jwt", accepted, plain},
		{http.MethodPost, "/v1/revoke", a.revoke, "revocation", revocation && accepted, plain},
		{http.MethodPost, "/v1/revocations", a.revokeAny, "revocation", revocation, guarded},
		{http.MethodGet, "/v1/subjects/{subject}/sessions", a.list, "sessions", sessions, guarded},
		{http.MethodDelete, "/v1/subjects/{subject}/sessions", a.endAll, "sessions", sessions, guarded},
		{http.MethodDelete, "/v1/sessions/{id}", a.end, "sessions", sessions, guarded},
		{http.MethodPost, "/v1/passwords/hash", a.hash, "passwordPolicy", passwords, guarded},
		{http.MethodPost, "/v1/passwords/verify", a.verify, "passwordPolicy", passwords, guarded},
		{http.MethodGet, "/openapi.json", a.describe, "", true, plain},
	}
}

// New returns the API. Its errors are problem details (RFC 9457).
func New(c Config) (http.Handler, error) {
	if c.Logger == nil || (c.Verifier == nil) != (c.Revoked == nil) || c.LoginService != nil && (c.SessionManager == nil || c.Verifier == nil) {
		return nil, errors.New("building loopback API: Logger is required, Revoked goes with Verifier, and both and SessionManager with LoginService")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	a := &api{Config: c, mux: http.NewServeMux()}
	for _, e := range a.endpoints() {
		if !e.enabled {
			e.handle = notEnabled(e.section)
		}
		if !e.plain {
			e.handle = guard(e.handle)
		}
		a.mux.Handle(e.method+" "+e.path, a.answering(e.handle))
	}
	return a, nil
}

func notEnabled(section string) stage.Func {
	return func(http.ResponseWriter, *http.Request) error {
		return &httperr.Error{Status: http.StatusNotFound, Code: "not-enabled", Detail: "The policy has no section " + section + "."}
	}
}

// ServeHTTP refuses strangers and serves the app.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := checkCaller(r); err != nil {
		httperr.Write(w, r, err)
		return
	}
	if _, pattern := a.mux.Handler(r); pattern == "" { // or net/http would answer in its own words
		httperr.Write(w, r, a.unknown(r))
		return
	}
	a.mux.ServeHTTP(w, r)
}

// unknown is 405 where the path knows other methods, and 404 else.
func (a *api) unknown(r *http.Request) error {
	e := &httperr.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "This operation does not know the method."}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "" {
			e = e.With("Allow", method)
		}
	}
	if e.Header == nil {
		return &httperr.Error{Status: http.StatusNotFound, Code: "no-operation", Detail: "There is no such operation; /openapi.json lists them."}
	}
	return e
}

// answering writes what an operation refuses, and logs what is no mistake of the app.
func (a *api) answering(h stage.Func) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		if e := httperr.From(err); e.Status >= http.StatusInternalServerError {
			a.Logger.WarnContext(r.Context(), "loopback request failed", "path", r.Pattern, "error", err)
		}
		httperr.Write(w, r, err)
	})
}

// checkCaller refuses requests that were made for someone who is not in the pod.
func checkCaller(r *http.Request) error {
	if !isLoopback(r.Host) {
		return &httperr.Error{Status: http.StatusMisdirectedRequest, Code: "not-loopback", Detail: "Call this API as 127.0.0.1 or localhost."}
	}
	for name := range r.Header {
		browser := name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") && name != "Sec-Fetch-Mode" // which Node's fetch sends, too
		proxied := name == "Forwarded" || name == "Via" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-")
		if browser || proxied {
			return &httperr.Error{Status: http.StatusForbidden, Code: "not-the-app", Detail: "This API is for the app itself, not for browsers or through proxies."}
		}
	}
	return nil
}

// guard refuses requests that the app was made to send.
func guard(next stage.Func) stage.Func {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get(RequestHeader) != "true" {
			return &httperr.Error{Status: http.StatusForbidden, Code: "not-the-app", Detail: "Send the header " + RequestHeader + ": true, which says that the app itself asks."}
		}
		return next(w, r)
	}
}

// isLoopback compares names, for a name that someone else controls may lead here (DNS rebinding).
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return host == "127.0.0.1" || host == "::1" || strings.EqualFold(host, "localhost")
}

func (a *api) describe(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // the client has gone: nobody is left to tell
	return nil
}
