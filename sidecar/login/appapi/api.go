// Package appapi is the HTTP API for the app in the pod: issue, introspect and revoke tokens, list and end a subject's sessions,
// hash and verify passwords, clear the locks of an account, export and erase what is held of a person, list the accounts and
// addresses with the most failures, and add events to the audit trail. openapi.json describes it, and is served at /openapi.json. An operation whose section the policy
// lacks responds with 404 not-enabled.
//
// Every caller can log in as any user, so the API must listen on 127.0.0.1 only. Requests that could still come from outside the
// pod are refused: from a browser in the pod's network (Origin, Referer, Cookie, Sec-Fetch-*), by a name that was rebound to 127.0.0.1
// (Host), through a proxy or CDN (Forwarded, X-Forwarded-*, X-Real-IP, Via, True-Client-IP, CF-* …), and by server-side request forgery (no RequestHeader). Bodies are
// JSON, or forms for RFC 7662 and RFC 7009, of up to 32 KiB.
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

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/subject"
	"github.com/posterndev/postern/sidecar/login/token"
)

// RequestHeader must be "true" on every operation except those of RFC 7662 and RFC 7009. These take only a token that the caller
// has, and standard clients for them do not send this header. It protects against server-side request forgery, where the attacker
// usually cannot choose headers. The sidecar removes it from requests to the app, so that the app cannot pass it on.
const RequestHeader = "Postern-Request"

//go:embed openapi.json
var openAPI []byte

// Checker reports what is revoked; revocation.PolicyChecker implements it.
type Checker interface {
	Revoked(ctx context.Context, q *revocation.Query) (bool, error)
}

// Passwords hashes and verifies passwords; *password.Hasher implements it.
type Passwords interface {
	Hash(ctx context.Context, password string) (encoded string, err error)
	Verify(ctx context.Context, password, encoded string) (password.Result, error)
}

// Revoker revokes tokens of every issuer that the policy accepts; *token.Revoker implements it.
type Revoker interface {
	Revoke(ctx context.Context, e revocation.Entry) (int, error)
	// RevokeToken revokes one token until it expires.
	RevokeToken(ctx context.Context, issuer, id string, expires time.Time) error
}

// Verifier verifies tokens of every issuer that the policy accepts; *authn.Verifier implements it.
type Verifier interface {
	// Verify returns nil for an invalid token, and an error if the validity is unknown.
	Verify(ctx context.Context, token string) (*identity.Identity, error)
	// Accepts reports whether the policy accepts tokens of the issuer.
	Accepts(issuer string) bool
}

// Config configures the API. Logger is required.
type Config struct {
	// LoginService is nil if the policy issues no tokens.
	LoginService *token.LoginService
	// SessionManager is nil if the policy has no sessions.
	SessionManager *token.SessionManager
	// Verifier and Revoked are nil if the policy accepts no tokens.
	Verifier Verifier
	Revoked  Checker
	// Revoker is nil if the policy accepts no tokens or has no store for revocations.
	Revoker Revoker
	// Passwords is nil if the policy has no passwordPolicy.
	Passwords Passwords
	// PasswordRules judge a password before it is hashed; nil for none.
	PasswordRules PasswordRules
	// Locks is nil if the policy has no loginProtection.
	Locks Locks
	// Stores hold what is exported and erased of a person.
	Stores subject.Stores
	// Top returns the accounts and addresses with the most failures, up to limit of each, as a value for JSON (usage.Top); nil if nothing counts them.
	Top func(limit int) any
	// Events receives what the app reports and what administrators do; nil for none.
	Events *event.Stream
	// Trail is nil if the policy has no audit trail. TrailDenies says that events are refused while it is full.
	Trail       Trail
	TrailDenies bool
	Logger      *slog.Logger
	// Now defaults to time.Now.
	Now func() time.Time
}

type api struct {
	Config
	mux *http.ServeMux
}

// endpoint is one operation. openapi.json describes the same operations.
type endpoint struct {
	method, path string
	handle       stage.Func
	// section is the section of the policy that the operation needs, and enabled whether the policy has it.
	section string
	enabled bool
	// plain operations do not need RequestHeader.
	plain bool
}

func (a *api) endpoints() []endpoint {
	const plain, guarded = true, false
	const personal = "that holds data of a person: sessions, revocation, loginProtection or passwordPolicy.rules.remember"
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
		{http.MethodPost, "/v1/login-locks/clear", a.clearLocks, "loginProtection", a.Locks != nil, guarded},
		{http.MethodPost, "/v1/subjects/export", a.exportSubject, personal, !a.Stores.None(), guarded},
		{http.MethodPost, "/v1/subjects/erase", a.eraseSubject, personal, !a.Stores.None(), guarded},
		{http.MethodPost, "/v1/audit", a.audit, "audit", a.Trail != nil, guarded},
		{http.MethodGet, "/v1/top", a.top, "that is counted", a.Top != nil, guarded},
		{http.MethodGet, "/openapi.json", a.describe, "", true, plain},
	}
}

// New returns the API. Error responses are problem details (RFC 9457).
func New(c Config) (http.Handler, error) {
	if c.Logger == nil || (c.Verifier == nil) != (c.Revoked == nil) || c.LoginService != nil && (c.SessionManager == nil || c.Verifier == nil) {
		return nil, errors.New("building loopback API: Logger is required; Verifier requires Revoked; LoginService requires Verifier and SessionManager")
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
			e.handle = guard(named(e.handle))
		}
		a.mux.Handle(e.method+" "+e.path, a.handler(e.handle))
	}
	return a, nil
}

func notEnabled(section string) stage.Func {
	return func(http.ResponseWriter, *http.Request) error {
		return &httperr.Error{Status: http.StatusNotFound, Code: "not-enabled", Detail: "The policy has no section " + section + "."}
	}
}

// ServeHTTP refuses requests from outside the pod and serves the others.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := checkCaller(r); err != nil {
		httperr.Write(w, r, err)
		return
	}
	if _, pattern := a.mux.Handler(r); pattern == "" { // net/http would not respond with a problem
		httperr.Write(w, r, a.unknown(r))
		return
	}
	a.mux.ServeHTTP(w, r)
}

// unknown returns 405 if the path has other methods, and 404 otherwise.
func (a *api) unknown(r *http.Request) error {
	e := &httperr.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "This operation does not support the method."}
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

// handler writes the error of an operation, and logs it if it is not the caller's.
func (a *api) handler(h stage.Func) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		if e := httperr.From(err); e.Status >= http.StatusInternalServerError {
			a.Logger.WarnContext(r.Context(), "loopback API request failed", "path", r.Pattern, "error", err)
		}
		httperr.Write(w, r, err)
	})
}

// checkCaller refuses requests that may come from outside the pod.
func checkCaller(r *http.Request) error {
	if !isLoopback(r.Host) {
		return &httperr.Error{Status: http.StatusMisdirectedRequest, Code: "not-loopback", Detail: "Use the host 127.0.0.1 or localhost for this API."}
	}
	for name, values := range r.Header {
		if byBrowser(name, values) || byProxy(name) {
			return &httperr.Error{Status: http.StatusForbidden, Code: "not-the-app", Detail: "This API is for the app itself. It does not accept requests of browsers or proxies."}
		}
	}
	return nil
}

// byBrowser reports whether browsers add the field. fetch in Node.js sends Sec-Fetch-Mode: cors, without Origin; a browser that sends
// this value sends Origin as well.
func byBrowser(name string, values []string) bool {
	switch name {
	case "Origin", "Referer", "Cookie", "Cookie2":
		return true
	case "Sec-Fetch-Mode":
		return len(values) != 1 || values[0] != "cors"
	}
	return strings.HasPrefix(name, "Sec-Fetch-")
}

// byProxy reports whether proxies and CDNs add the field.
func byProxy(name string) bool {
	switch name {
	case "Forwarded", "Via", "X-Real-Ip", "True-Client-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "Fastly-Client-Ip", "Fly-Client-Ip",
		"X-Azure-Clientip", "X-Original-Forwarded-For", "X-Envoy-External-Address", "Cdn-Loop":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "Cf-")
}

// guard refuses requests without RequestHeader (server-side request forgery).
func guard(next stage.Func) stage.Func {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get(RequestHeader) != "true" {
			return &httperr.Error{Status: http.StatusForbidden, Code: "not-the-app", Detail: "Send the header " + RequestHeader + ": true. It shows that the app itself sends the request."}
		}
		return next(w, r)
	}
}

// isLoopback compares the host by name, because any other name can resolve to this address (DNS rebinding).
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return host == "127.0.0.1" || host == "::1" || strings.EqualFold(host, "localhost")
}

func (a *api) describe(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // a write error means that the client has disconnected
	return nil
}
