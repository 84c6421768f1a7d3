// Package backchannel implements OpenID Connect Back-Channel Logout 1.0. An external provider reports, server to server, that a
// person has logged out. The person's tokens and external sessions end at once.
//
// Package jwt parses and verifies logout tokens, as it does access tokens. A logout token must also have the type logout+jwt,
// our client ID in aud, iat, exp and jti, a sub or a sid, the logout event, and no nonce (§2.4, §2.6). Each token is accepted
// once. A token with a sid ends that session. A token with only a sub ends all sessions of the subject that began before iat.
package backchannel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/jwt"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// maxLifetime is the maximum lifetime of a logout token. §2.4 recommends two minutes.
const maxLifetime = time.Hour

// Provider is an external issuer that may log people out.
type Provider struct {
	Issuer string
	// ClientIDs are our client IDs at the provider. aud must contain one of them. At least one is required.
	ClientIDs  []string
	Algorithms []string
	Keys       jwt.Keys
	Leeway     time.Duration
	// AnyType also accepts tokens with typ JWT and tokens without typ: early implementations do not set logout+jwt.
	AnyType bool
	// TokenLifetime is the lifetime of the provider's longest access token. A revocation is stored for this time.
	TokenLifetime time.Duration
	// BySubject means that external sessions are identified by sub, not by sid (sessions.subjectFrom: sub).
	BySubject bool
}

// Ender ends external sessions and informs the other sidecars. *token.SessionManager implements it.
type Ender interface {
	End(ctx context.Context, id string) (bool, error)
	EndAll(ctx context.Context, owner session.Owner, except string) (int, error)
}

// Revocations adds revocations. revocation.Store implements it.
type Revocations interface {
	Add(ctx context.Context, entries ...revocation.Entry) (revocation.Position, error)
}

// Revoked looks up revocations. revocation.PolicyChecker implements it.
type Revoked interface {
	Revoked(ctx context.Context, q *revocation.Query) (bool, error)
}

// Replay remembers logout tokens. All replicas share it.
type Replay interface {
	// First reports whether the token was not used in the last ttl, and records it.
	First(ctx context.Context, issuer, id string, ttl time.Duration) (bool, error)
	// Forget removes the token, so that it can be used again after a failed logout.
	Forget(ctx context.Context, issuer, id string) error
}

// Config configures the endpoint. All fields except Events and Now are required.
type Config struct {
	// Path is the path of the endpoint, for example "/auth/backchannel-logout".
	Path        string
	Providers   []Provider
	Sessions    Ender
	Revocations Revocations
	// Revoked checks the logout token itself: a token signed with a revoked key logs nobody out.
	Revoked Revoked
	Replay  Replay
	Logger  *slog.Logger
	// Events receives an event for each logout token. It may be nil.
	Events *event.Stream
	// Now defaults to time.Now.
	Now func() time.Time
}

type endpoint struct {
	Config
	providers map[string]provider
}

// provider is a Provider with the rules that its logout tokens must satisfy.
type provider struct {
	Provider
	rules jwt.Issuer
}

// New returns the stage. It handles POST requests to Path and passes all other paths on. Authorization must allow Path: the
// token in the body is the only authentication. The response is 200, 400 for an invalid token (§2.8), or 503 if a store or the
// provider's keys are unavailable. After a 503 the provider may send the same token again.
func New(c Config) (stage.Stage, error) {
	if !strings.HasPrefix(c.Path, "/") || len(c.Providers) == 0 || c.Sessions == nil || c.Revocations == nil || c.Revoked == nil || c.Replay == nil ||
		c.Logger == nil {
		return nil, errors.New("building back-channel logout: a path, providers, Sessions, Revocations, Revoked, Replay and Logger are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	e := &endpoint{Config: c, providers: map[string]provider{}}
	for _, p := range c.Providers {
		if p.Issuer == "" || p.Keys == nil || len(p.Algorithms) == 0 || len(p.ClientIDs) == 0 || p.TokenLifetime <= 0 {
			return nil, fmt.Errorf("building back-channel logout for %q: issuer, keys, algorithms, client IDs and token lifetime are required", p.Issuer)
		}
		if _, repeated := e.providers[p.Issuer]; repeated {
			return nil, fmt.Errorf("building back-channel logout for %q: the issuer is repeated", p.Issuer)
		}
		types := []string{"logout+jwt"}
		if p.AnyType {
			types = append(types, "jwt")
		}
		e.providers[p.Issuer] = provider{p, jwt.Issuer{
			Issuer: p.Issuer, Audiences: p.ClientIDs, Algorithms: p.Algorithms, Types: types, Keys: p.Keys, Leeway: p.Leeway,
			MaxLifetime: maxLifetime,
		}}
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if strings.TrimSuffix(request.From(r).Path, "/") != c.Path { // package route also ignores a trailing slash
				return next.ServeHTTP(w, r)
			}
			return e.serve(w, r)
		})
	}, nil
}

func (e *endpoint) serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		refusal := &httperr.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "Use POST to send a logout token."}
		return refusal.With("Allow", http.MethodPost)
	}
	actor, err := e.logout(r)
	ev := event.Event{Kind: event.BackChannelLogout, Outcome: event.Success, Actor: actor}
	if err == nil {
		request.Emit(r.Context(), e.Events, ev)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	status := http.StatusServiceUnavailable
	ev.Outcome, ev.Reason = event.Failed, "unavailable"
	if reason, invalid := reasonOf(err); invalid {
		status = http.StatusBadRequest
		ev.Outcome, ev.Reason, ev.Claim = event.Refused, string(reason), jwt.ClaimOf(err)
	}
	request.Emit(r.Context(), e.Events, ev)
	request.From(r).Decide(request.Decision{Stage: "token", Rule: "backchannel-logout", Err: &httperr.Error{
		Status: status, Code: "logout-refused", Detail: "The logout token was refused.", Cause: err,
	}})
	return respond(w, status)
}

// respond tells the provider only whether to send the token again.
func respond(w http.ResponseWriter, status int) error {
	body := map[string]string{"error": "invalid_request", "error_description": "The logout token is not valid."}
	if status == http.StatusServiceUnavailable {
		body = map[string]string{"error": "temporarily_unavailable", "error_description": "Send the logout token again."}
		w.Header().Set("Retry-After", "5")
	}
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding response: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the provider has disconnected
	return nil
}
