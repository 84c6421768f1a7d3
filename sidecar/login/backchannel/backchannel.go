// Package backchannel is OpenID Connect Back-Channel Logout 1.0: an external provider says, server to server, that a person has
// logged out, and that person's tokens and external sessions end at once.
//
// Logout tokens are read and verified by package jwt, as access tokens are. Beyond that they must be of type logout+jwt, name us
// in aud, have iat, exp and jti, a sub or a sid, the logout event, and no nonce (§2.4, §2.6). Each is accepted once. A token with
// a sid ends that session; one with a sub alone ends all that the subject began before iat.
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

// maxLifetime bounds the life of a logout token; §2.4 recommends two minutes.
const maxLifetime = time.Hour

// Provider is an external issuer that may log people out.
type Provider struct {
	Issuer string
	// ClientIDs are what the provider calls us: aud must hold one. At least one.
	ClientIDs  []string
	Algorithms []string
	Keys       jwt.Keys
	Leeway     time.Duration
	// AnyType also accepts tokens of typ JWT, and without typ: the type became usual only after the first providers had built this.
	AnyType bool
	// TokenLifetime is that of the provider's longest access token; so long a revocation is kept.
	TokenLifetime time.Duration
	// BySubject says that the external session is the subject's and not the sid's (sessions.subjectFrom: sub).
	BySubject bool
}

// Ender ends external sessions, and tells the other sidecars; *token.SessionManager does.
type Ender interface {
	End(ctx context.Context, id string) (bool, error)
	EndAll(ctx context.Context, owner session.Owner, except string) (int, error)
}

// Revocations takes revocations; revocation.Store does.
type Revocations interface {
	Add(ctx context.Context, entries ...revocation.Entry) (revocation.Position, error)
}

// Revoked knows what is revoked; revocation.PolicyChecker does.
type Revoked interface {
	Revoked(ctx context.Context, q *revocation.Query) (bool, error)
}

// Replay remembers logout tokens. It is shared by all replicas.
type Replay interface {
	// First reports whether nobody has named the token in the last ttl.
	First(ctx context.Context, issuer, id string, ttl time.Duration) (bool, error)
	// Forget lets the token be named again, because what it asked for failed.
	Forget(ctx context.Context, issuer, id string) error
}

// Config is what the endpoint is made of; all of it but Events and Now is required.
type Config struct {
	// Path is the endpoint's, as "/auth/backchannel-logout".
	Path        string
	Providers   []Provider
	Sessions    Ender
	Revocations Revocations
	// Revoked is asked about the logout token itself: one that a revoked key has signed logs nobody out.
	Revoked Revoked
	Replay  Replay
	Logger  *slog.Logger
	// Events gets every logout token; nil for nobody.
	Events *event.Stream
	// Now is time.Now where nil.
	Now func() time.Time
}

type endpoint struct {
	Config
	providers map[string]provider
}

// provider is a Provider, and what its logout tokens must say to be verified.
type provider struct {
	Provider
	rules jwt.Issuer
}

// New returns the stage, which answers POST of Path and passes every other path on. Authorization must let Path through: the
// token in the body is all the authentication there is. It answers 200, 400 for a token that is not good (§2.8), and 503 where the
// stores or the provider's keys are away, after which the provider may send the same token again.
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
			return nil, fmt.Errorf("building back-channel logout for %q: issuer, keys, algorithms, client ids and token lifetime are required", p.Issuer)
		}
		if _, taken := e.providers[p.Issuer]; taken {
			return nil, fmt.Errorf("building back-channel logout for %q: the issuer is there twice", p.Issuer)
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
			if strings.TrimSuffix(request.From(r).Path, "/") != c.Path { // as package route matches it
				return next.ServeHTTP(w, r)
			}
			return e.serve(w, r)
		})
	}, nil
}

func (e *endpoint) serve(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		refusal := &httperr.Error{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "Logout tokens are posted."}
		return refusal.With("Allow", http.MethodPost)
	}
	whose, err := e.logout(r)
	ev := event.Event{Kind: event.BackChannelLogout, Outcome: event.Success, Actor: whose}
	if err == nil {
		request.Emit(r.Context(), e.Events, ev)
		w.WriteHeader(http.StatusOK)
		return nil
	}
	status := http.StatusServiceUnavailable
	ev.Outcome, ev.Reason = event.Failed, "unavailable"
	if reason, invalid := reasonOf(err); invalid {
		status = http.StatusBadRequest
		ev.Outcome, ev.Reason = event.Refused, string(reason)
	}
	request.Emit(r.Context(), e.Events, ev)
	request.From(r).Decide(request.Decision{Stage: "token", Rule: "backchannel-logout", Err: &httperr.Error{
		Status: status, Code: "logout-refused", Detail: "The logout token was refused.", Cause: err,
	}})
	return respond(w, status)
}

// respond tells the provider whether to send the token again, and nothing more.
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
	_, _ = w.Write(b) // the provider has gone: nobody is left to tell
	return nil
}
