// Package backchannel is OpenID Connect Back-Channel Logout 1.0: external providers tell, server to server, that a person
// has logged out, and the provider's tokens and the sessions that are kept of them end at once.
//
// A logout token must be signed by the provider with one of its algorithms, be of type logout+jwt, name us in aud, have
// iat, exp and jti, a sub or a sid, the logout event, and no nonce (§2.4, §2.6). Each is taken once. A token with a sid
// ends that session; one with a sub alone ends all that the subject began before iat.
package backchannel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/jwt"
	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
)

// event is the member of "events" that makes a token a logout token.
const event = "http://schemas.openid.net/event/backchannel-logout"

// Bounds: of the body in bytes, of a logout token's life (§2.4 recommends two minutes), and of its jti in bytes.
const (
	maxBody     = 20 << 10
	maxLifetime = time.Hour
	maxID       = 256
)

// Provider is an external issuer that may log people out.
type Provider struct {
	Issuer string
	// ClientIDs are what the provider calls us: aud must hold one. At least one.
	ClientIDs  []string
	Algorithms []string
	Keys       jwt.Keys
	Leeway     time.Duration
	// AnyType also takes tokens of typ JWT or none: the type became usual only after the first providers had built this.
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

// Config is what the endpoint is made of; all of it but Now is required.
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
	// Now is time.Now where nil.
	Now func() time.Time
}

type endpoint struct {
	Config
	providers map[string]provider
}

// provider is a Provider with its checks.
type provider struct {
	Provider
	verifier jwt.Issuer
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
			types = append(types, "jwt", "")
		}
		e.providers[p.Issuer] = provider{p, jwt.Issuer{
			Issuer: p.Issuer, Audiences: p.ClientIDs, Algorithms: p.Algorithms, Types: types, Keys: p.Keys, Leeway: p.Leeway,
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
	err := e.logout(w, r)
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	info := request.From(r)
	status := http.StatusServiceUnavailable
	if errors.Is(err, jwt.ErrInvalid) {
		status = http.StatusBadRequest
	}
	info.Decisions = append(info.Decisions, request.Decision{Stage: "token", Rule: "backchannel-logout", Err: &httperr.Error{
		Status: status, Code: "logout-refused", Detail: "The logout token was refused.", Cause: err,
	}})
	return answer(w, status)
}

// answer tells the provider no more than the log tells us.
func answer(w http.ResponseWriter, status int) error {
	body := map[string]string{"error": "invalid_request", "error_description": "The logout token is not valid."}
	if status == http.StatusServiceUnavailable {
		body = map[string]string{"error": "temporarily_unavailable", "error_description": "Send the logout token again."}
		w.Header().Set("Retry-After", "5")
	}
	b, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the provider has gone: nobody is left to tell
	return nil
}

// logout reads, checks and carries out the token. Errors match jws.ErrInvalid where the token is at fault.
func (e *endpoint) logout(w http.ResponseWriter, r *http.Request) error {
	raw, err := readToken(w, r)
	if err != nil {
		return err
	}
	issuer, err := jwt.IssuerOf(raw)
	if err != nil {
		return err
	}
	p, ok := e.providers[issuer]
	if !ok {
		return fmt.Errorf("%w: it is of an unknown issuer", jwt.ErrInvalid)
	}
	now := e.Now()
	t, err := p.verifier.Verify(r.Context(), raw, now)
	if err != nil {
		return err
	}
	if err := check(t); err != nil {
		return fmt.Errorf("%w: %w", jwt.ErrInvalid, err)
	}
	revoked, err := e.Revoked.Revoked(r.Context(), &revocation.Query{Issuer: p.Issuer, TokenID: t.ID, KeyID: t.KeyID})
	if err != nil {
		return fmt.Errorf("looking up logout token: %w", err)
	}
	if revoked {
		return fmt.Errorf("%w: it, or the key that has signed it, is revoked", jwt.ErrInvalid)
	}
	first, err := e.Replay.First(r.Context(), p.Issuer, t.ID, t.Expires.Sub(now)+p.Leeway+time.Minute)
	if err != nil {
		return fmt.Errorf("remembering logout token: %w", err)
	}
	if !first {
		return fmt.Errorf("%w: it was sent before", jwt.ErrInvalid)
	}
	if err := e.end(r.Context(), p, t, now); err != nil {
		if forget := e.Replay.Forget(r.Context(), p.Issuer, t.ID); forget != nil {
			e.Logger.WarnContext(r.Context(), "a logout token that failed cannot be sent again", "issuer", p.Issuer, "error", forget)
		}
		return err
	}
	e.Logger.InfoContext(r.Context(), "logged out by the provider", "issuer", p.Issuer, "bySession", t.Session != "")
	return nil
}

// readToken reads the form's logout_token (§2.5).
func readToken(w http.ResponseWriter, r *http.Request) (string, error) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return "", fmt.Errorf("%w: the body is no form", jwt.ErrInvalid)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", fmt.Errorf("%w: reading body: %w", jwt.ErrInvalid, err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["logout_token"]) != 1 {
		return "", fmt.Errorf("%w: the form has not one logout_token", jwt.ErrInvalid)
	}
	return form.Get("logout_token"), nil
}

// check is what makes a verified token a logout token (§2.6).
func check(t *jwt.Token) error {
	events, _ := t.Claims["events"].(map[string]any)
	_, isLogout := events[event].(map[string]any)
	_, hasNonce := t.Claims["nonce"]
	switch {
	case !isLogout:
		return errors.New("it has no logout event")
	case hasNonce:
		return errors.New("it has a nonce, as ID tokens do")
	case t.Subject == "" && t.Session == "":
		return errors.New("it has neither sub nor sid")
	case t.ID == "" || len(t.ID) > maxID:
		return errors.New("it has no jti, or a long one")
	case t.Issued.IsZero() || t.Expires.IsZero() || t.Expires.Sub(t.Issued) > maxLifetime:
		return fmt.Errorf("it has no iat or exp, or lives longer than %s", maxLifetime)
	}
	return nil
}

// end revokes the provider's tokens and ends the sessions that are kept of them. Both can be done again.
func (e *endpoint) end(ctx context.Context, p provider, t *jwt.Token, now time.Time) error {
	entry := revocation.Entry{Kind: revocation.Session, Issuer: p.Issuer, Value: t.Session, Expires: now.Add(p.TokenLifetime + p.Leeway)}
	if t.Session == "" {
		// Tokens have whole seconds: those of the second of the logout are ended too.
		entry.Kind, entry.Value, entry.Before = revocation.Subject, t.Subject, t.Issued.Add(time.Second)
	}
	if _, err := e.Revocations.Add(ctx, entry); err != nil {
		if errors.Is(err, revocation.ErrInvalid) {
			return fmt.Errorf("%w: %w", jwt.ErrInvalid, err)
		}
		return fmt.Errorf("revoking by logout token: %w", err)
	}
	return e.endExternal(ctx, p, t)
}

func (e *endpoint) endExternal(ctx context.Context, p provider, t *jwt.Token) error {
	if t.Session == "" {
		if _, err := e.Sessions.EndAll(ctx, session.Owner{Issuer: p.Issuer, Subject: t.Subject}, ""); err != nil {
			return fmt.Errorf("ending sessions by logout token: %w", err)
		}
		return nil
	}
	kept := t.Session
	if p.BySubject {
		if kept = t.Subject; kept == "" {
			return nil // the revocation of the sid stands for the session
		}
	}
	if _, err := e.Sessions.End(ctx, session.ExternalID(p.Issuer, kept)); err != nil {
		return fmt.Errorf("ending session by logout token: %w", err)
	}
	return nil
}
