package revocation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// stageName is how decisions name this package, and retryAfter is for how long a client waits for the index, in seconds.
const (
	stageName  = "revocation"
	retryAfter = "1"
)

// OnFailure is what happens to tokens while the index is too old, or the store that it needs does not answer.
type OnFailure string

// Deny answers 503 where an identity is needed. Allow takes what the index last knew.
const (
	Deny  OnFailure = "Deny"
	Allow OnFailure = "Allow"
)

// Checker is an Index.
type Checker interface {
	Revoked(ctx context.Context, q *Query) (bool, error)
	Age() time.Duration
}

// Config is what the stage needs.
type Config struct {
	Index Checker
	// OnFailure holds where the index is older than MaxStaleness; DefaultMaxStaleness if 0. What the index knows to be revoked
	// is refused at any age.
	OnFailure    OnFailure
	MaxStaleness time.Duration
	// Shadow decides and records, and lets pass.
	Shadow bool
	// Realm is the realm of WWW-Authenticate; empty for "postern".
	Realm string
	// StripCredentials takes identity headers and tokens out of a request whose token is revoked, so that no app trusts them.
	StripCredentials func(http.Header)
	// Current is asked about answers that are under way: it knows what is revoked now, also when another policy has taken the
	// place of this one, and nothing while that is only tried. Index if nil. Such an answer ends where its token is known to be
	// revoked; what is not known, for want of a store, ends none.
	Current Checker
}

type checker struct {
	Config
	realm string
	rules Judge
}

// New returns the stage; it stands behind authn and before authz. A revoked token gives no identity: AuthnErr is then 401
// token-revoked, or 503 revocation-unavailable where it is not known and OnFailure is Deny, so that authorization refuses
// the request on routes that need an identity, and on no others. Anyone may call next.
func New(c Config) (stage.Stage, error) {
	if c.Index == nil || c.StripCredentials == nil {
		return nil, errors.New("building revocation: an index and what withdraws a token are needed")
	}
	if c.OnFailure != Deny && c.OnFailure != Allow {
		return nil, fmt.Errorf("building revocation: onFailure %q is not %s or %s", c.OnFailure, Deny, Allow)
	}
	if c.MaxStaleness < 0 {
		return nil, fmt.Errorf("building revocation: maxStaleness %s is negative", c.MaxStaleness)
	}
	realm, err := httperr.QuoteRealm(c.Realm)
	if err != nil {
		return nil, fmt.Errorf("building revocation: %w", err)
	}
	if c.Current == nil {
		c.Current = c.Index
	}
	checker := checker{Config: c, realm: realm, rules: Judge{Index: c.Index, OnFailure: c.OnFailure, MaxStaleness: c.MaxStaleness}}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			checker.check(r, request.From(r))
			return next.ServeHTTP(w, r)
		})
	}, nil
}

// check takes the identity away from a request whose token is revoked.
func (c checker) check(r *http.Request, info *request.Info) {
	if info.Identity == nil {
		return
	}
	q := QueryOf(info.Identity)
	refusal := c.judge(r.Context(), &q)
	shadow := c.Shadow || info.Shadow
	if refusal == nil || shadow {
		c.watch(info, &q)
	}
	switch {
	case refusal == nil:
		return
	case shadow:
		_ = info.Refuse(request.Rule{Stage: stageName, Shadow: c.Shadow}, refusal)
		return
	}
	info.Identity, info.AuthnErr = nil, refusal // authorization decides whether it refuses the request, and records it
	c.StripCredentials(r.Header)
}

// watch ends the answer when the token is revoked, unless that is only tried by then.
func (c checker) watch(info *request.Info, q *Query) {
	info.Watches = append(info.Watches, request.Watch{Rule: request.Rule{Stage: stageName}, Judge: func(ctx context.Context) *httperr.Error {
		if revoked, err := c.Current.Revoked(ctx, q); err != nil || !revoked {
			return nil
		}
		return c.revoked()
	}})
}

// judge returns why the identity does not count, or nil.
func (c checker) judge(ctx context.Context, q *Query) *httperr.Error {
	revoked, err := c.rules.Revoked(ctx, q)
	if revoked {
		return c.revoked()
	}
	if err == nil {
		return nil
	}
	e := &httperr.Error{
		Status: http.StatusServiceUnavailable, Code: "revocation-unavailable",
		Detail: "It cannot be checked at the moment whether the token was revoked. Try again shortly.", Cause: err,
	}
	return e.With("Retry-After", retryAfter)
}

func (c checker) revoked() *httperr.Error {
	return httperr.InvalidToken("token-revoked", c.realm, "The token was revoked")
}
