package revocation

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// stageName is the name of the stage in decisions. retryAfter is the value of Retry-After in seconds.
const (
	stageName  = "revocation"
	retryAfter = "1"
)

// OnFailure is how tokens are treated while the index is too old, or a store that it needs is unavailable.
type OnFailure string

// Deny responds with 503 on routes that need an identity. Allow uses the latest state of the index.
const (
	Deny  OnFailure = "Deny"
	Allow OnFailure = "Allow"
)

// Config configures the stage. Index, OnFailure and StripCredentials are required.
type Config struct {
	Index Checker
	// OnFailure applies while the index is older than MaxStaleness, which defaults to DefaultMaxStaleness. Tokens that the index
	// holds as revoked are refused at any age.
	OnFailure    OnFailure
	MaxStaleness time.Duration
	// Shadow records decisions and lets requests pass.
	Shadow bool
	// Realm is the realm of WWW-Authenticate; it defaults to "postern".
	Realm string
	// StripCredentials removes identity headers and tokens from a request whose token is revoked, so that no app trusts them.
	StripCredentials func(http.Header)
	// Current is checked while a response is being sent; it defaults to Index. It follows the active policy, also after another
	// policy has replaced this one, and is empty in shadow mode. A response ends if its token is revoked. It does not end if the
	// store is unavailable.
	Current Checker
}

type checker struct {
	Config
	realm string
	rules PolicyChecker
	// queries has *Query.
	queries sync.Pool
	// again is the method look, made once.
	again func(context.Context, request.Watched) *httperr.Error
}

// New returns the stage. It must come after authn and before authz. A revoked token gives no identity: AuthnErr is then 401
// token-revoked, or 503 revocation-unavailable if the state is unknown and OnFailure is Deny. Authorization refuses the request
// on routes that need an identity, and on no others. The stage always calls next.
func New(c Config) (stage.Stage, error) {
	if c.Index == nil || c.StripCredentials == nil {
		return nil, errors.New("building revocation: Index and StripCredentials are required")
	}
	if c.OnFailure != Deny && c.OnFailure != Allow {
		return nil, fmt.Errorf("building revocation: onFailure %q must be %s or %s", c.OnFailure, Deny, Allow)
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
	checker := &checker{Config: c, realm: realm, rules: PolicyChecker{Index: c.Index, OnFailure: c.OnFailure, MaxStaleness: c.MaxStaleness}}
	checker.again = checker.look
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			checker.check(r, request.From(r))
			return next.ServeHTTP(w, r)
		})
	}, nil
}

// check removes the identity from a request whose token is revoked.
func (c *checker) check(r *http.Request, info *request.Info) {
	if info.Identity == nil {
		return
	}
	q, ok := c.queries.Get().(*Query)
	if !ok {
		q = &Query{}
	}
	*q = QueryOf(info.Identity)
	refusal := c.judge(r.Context(), q)
	c.queries.Put(q) // no Checker keeps it
	shadow := c.Shadow || info.Shadow
	if refusal == nil || shadow {
		c.watch(info, info.Identity)
	}
	switch {
	case refusal == nil:
		return
	case shadow:
		_ = info.Refuse(request.Rule{Stage: stageName, Shadow: c.Shadow}, refusal)
		return
	}
	info.Identity, info.AuthnErr = nil, refusal // authorization decides about the request, and records the decision
	c.StripCredentials(r.Header)
}

// watch ends the response when the token is revoked, unless revocation is in shadow mode by then.
func (c *checker) watch(info *request.Info, id *identity.Identity) {
	info.Watch(request.Watch{Rule: request.Rule{Stage: stageName}, Judge: c.again, Of: request.Watched{Identity: id}})
}

// look returns why a response in progress must end, or nil.
func (c *checker) look(ctx context.Context, of request.Watched) *httperr.Error {
	q := QueryOf(of.Identity)
	if revoked, err := c.Current.Revoked(ctx, &q); err != nil || !revoked {
		return nil
	}
	return c.revoked()
}

// judge returns the refusal for the token, or nil.
func (c *checker) judge(ctx context.Context, q *Query) *httperr.Error {
	revoked, err := c.rules.Revoked(ctx, q)
	if revoked {
		return c.revoked()
	}
	if err == nil {
		return nil
	}
	e := &httperr.Error{
		Status: http.StatusServiceUnavailable, Code: "revocation-unavailable",
		Detail: "The revocation check is temporarily unavailable. Try again shortly.", Cause: err,
	}
	return e.With("Retry-After", retryAfter)
}

func (c *checker) revoked() *httperr.Error {
	return httperr.InvalidToken("token-revoked", c.realm, "The token was revoked")
}
