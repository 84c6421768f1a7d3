package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

const (
	// stageName is how decisions name this package, and retryAfter is for how long a client waits for the store, in seconds.
	stageName  = "session"
	retryAfter = "1"
	// DefaultTouchEvery is in how much time a session is written once at most, and DefaultCacheFor for how long a sidecar
	// takes a session to go on after it has asked.
	DefaultTouchEvery = time.Minute
	DefaultCacheFor   = 10 * time.Second
	// DefaultCacheSize is the number of sessions that a sidecar remembers.
	DefaultCacheSize = 1 << 14
)

// OnFailure is what happens to requests of sessions while the store does not answer.
type OnFailure string

// Deny answers 503 where an identity is needed; Allow takes the session to go on.
const (
	Deny  OnFailure = "Deny"
	Allow OnFailure = "Allow"
)

// SubjectFrom says by which claim the session of an external provider is known.
type SubjectFrom string

// FromNone keeps no sessions of external providers; FromSID keeps one for each claim sid; FromSub one for each subject.
const (
	FromNone SubjectFrom = ""
	FromSID  SubjectFrom = "sid"
	FromSub  SubjectFrom = "sub"
)

// Config is what the stage needs.
type Config struct {
	// Store is asked by Touch for our own sessions and by Admit for others.
	Store Store
	// Issuer is the claim iss of our own tokens; empty where there are none.
	Issuer string
	// SubjectFrom and Limits are for the sessions of all other issuers.
	SubjectFrom SubjectFrom
	Limits      Limits
	// Bind ties a session to the device of its login.
	Bind      Bind
	OnFailure OnFailure
	// TouchEvery, CacheFor and CacheSize are their defaults if 0. The first two are cut to a twentieth of a session's idle
	// timeout: by so much each the idle timeout may strike early, and by CacheFor a session that idled out, aged out or was
	// evicted may go on at a sidecar that has seen it; what was ended on purpose is refused at once by package revocation, or by
	// Ended.
	TouchEvery, CacheFor time.Duration
	CacheSize            int
	// Ended, if any, reports whether the session of an external issuer that began then was ended on purpose, as far as this process
	// knows; a zero time stands for any that has the id. What a sidecar remembers from before does not count then.
	Ended Ended
	// Watched is what Ended is, for the policy that is in force by then: where it holds, an answer that is under way ends.
	Watched Ended
	// Shadow decides and records, and lets pass.
	Shadow bool
	// Realm is the realm of WWW-Authenticate; empty for "postern".
	Realm string
	// StripCredentials takes identity headers and tokens out of a request whose session has ended, so that no app trusts them.
	StripCredentials func(http.Header)
	// Events gets the external sessions that made room for others; nil for nobody.
	Events *event.Stream
	// Now is time.Now if nil.
	Now func() time.Time
}

// Ended reports whether a session was ended on purpose.
type Ended func(ctx context.Context, id string, began time.Time) (bool, error)

// withDefaults returns a valid c, or an error that says what to change.
func (c Config) withDefaults() (Config, error) {
	if c.Store == nil || c.StripCredentials == nil {
		return c, errors.New("a store and what withdraws a token are needed")
	}
	if c.SubjectFrom != FromNone && c.SubjectFrom != FromSID && c.SubjectFrom != FromSub {
		return c, fmt.Errorf("subjectFrom %q is not %s or %s", c.SubjectFrom, FromSID, FromSub)
	}
	if c.SubjectFrom != FromNone {
		if err := c.Limits.Check(); err != nil {
			return c, err
		}
	}
	if c.OnFailure != Deny && c.OnFailure != Allow {
		return c, fmt.Errorf("onFailure %q is not %s or %s", c.OnFailure, Deny, Allow)
	}
	if c.TouchEvery < 0 || c.CacheFor < 0 || c.CacheSize < 0 {
		return c, errors.New("an interval or the size of the cache is negative")
	}
	if c.TouchEvery == 0 {
		c.TouchEvery = DefaultTouchEvery
	}
	if c.CacheFor == 0 {
		c.CacheFor = DefaultCacheFor
	}
	if c.CacheSize == 0 {
		c.CacheSize = DefaultCacheSize
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c, c.Bind.check()
}

type checker struct {
	Config
	realm string
	seen  *seen
}

// NewStage returns the stage; it stands behind authn and revocation and before authz. A token whose session has ended gives no
// identity, so that authorization refuses the request on routes that need one, and on no others: AuthnErr is then 401
// session-ended, session-device (another device) or session-missing (the token of a provider names none), 403 session-limit
// (the cap of an external provider's subject), or 503 session-unavailable. A token of our own without sid has no session and
// passes. Anyone may call next.
func NewStage(c Config) (stage.Stage, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("building sessions: %w", err)
	}
	realm, err := httperr.QuoteRealm(c.Realm)
	if err != nil {
		return nil, fmt.Errorf("building sessions: %w", err)
	}
	s, err := newSeen(c)
	if err != nil {
		return nil, fmt.Errorf("building sessions: %w", err)
	}
	checker := &checker{Config: c, realm: realm, seen: s}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			checker.check(r, request.From(r))
			return next.ServeHTTP(w, r)
		})
	}, nil
}

// check takes the identity away from a request whose session has ended.
func (c *checker) check(r *http.Request, info *request.Info) {
	if info.Identity == nil {
		return
	}
	claim, applies := c.claimOf(info.Identity)
	if !applies {
		return
	}
	v, refusal := c.judge(r, info, claim)
	if refusal == nil || c.Shadow || info.Shadow {
		c.watch(info, claim, v.created)
	}
	if v.err == nil && v.owner == claim.owner {
		info.Session = claim.id
	}
	if refusal == nil {
		return
	}
	if c.Shadow || info.Shadow {
		_ = info.Refuse(request.Rule{Stage: stageName, Shadow: c.Shadow}, refusal)
		return
	}
	info.Identity, info.AuthnErr = nil, refusal // authorization decides whether it refuses the request, and records it
	c.StripCredentials(r.Header)
}

// watch ends the answer when the session is ended on purpose. Sessions of our own are revoked then, which ends it, too.
func (c *checker) watch(info *request.Info, claim claim, began time.Time) {
	if c.Watched == nil || !claim.external || claim.id == "" {
		return
	}
	info.Watches = append(info.Watches, request.Watch{Rule: request.Rule{Stage: stageName}, Judge: func(ctx context.Context) *httperr.Error {
		if ended, err := c.Watched(ctx, claim.id, began); err != nil || !ended {
			return nil
		}
		return c.over()
	}})
}

// over is the refusal of a session that has ended.
func (c *checker) over() *httperr.Error {
	return httperr.InvalidToken("session-ended", c.realm, "The session has ended")
}

// judge returns what is known of the session, and why the identity does not count, or nil.
func (c *checker) judge(r *http.Request, info *request.Info, claim claim) (verdict, *httperr.Error) {
	if claim.id == "" {
		return verdict{}, httperr.InvalidToken("session-missing", c.realm, "The token names no session")
	}
	v := c.seen.look(r.Context(), claim, func() Device { return NewDevice(r.UserAgent(), info.ClientAddr) })
	return v, c.refusal(r, info, claim, v)
}

func (c *checker) refusal(r *http.Request, info *request.Info, claim claim, v verdict) *httperr.Error {
	switch {
	case errors.Is(v.err, ErrEnded), v.err == nil && v.owner != claim.owner:
		return c.over()
	case errors.Is(v.err, ErrFull):
		return &httperr.Error{
			Status: http.StatusForbidden, Code: "session-limit",
			Detail: "There are as many sessions as are allowed. End one of them and try again.",
		}
	case errors.Is(v.err, ErrInvalid):
		return httperr.InvalidToken("session-missing", c.realm, "The token names no session that can be kept")
	case v.err != nil && c.seen.surely(r.Context(), claim, v.created): // whether it has begun anew, nobody can say
		return c.over()
	case v.err != nil:
		return c.unavailable(v.err)
	case !c.sameDevice(v.device, r, info):
		return httperr.InvalidToken("session-device", c.realm, "The session belongs to another device")
	}
	return nil
}

// sameDevice parses a User-Agent only where it is not the very one of the login.
func (c *checker) sameDevice(login Device, r *http.Request, info *request.Info) bool {
	if c.Bind == BindNone || c.Bind == BindUserAgent && login.UserAgent == r.UserAgent() {
		return true
	}
	return c.Bind.Tie(login) == c.Bind.Tie(NewDevice(r.UserAgent(), info.ClientAddr))
}

func (c *checker) unavailable(cause error) *httperr.Error {
	if c.OnFailure == Allow {
		return nil
	}
	e := &httperr.Error{
		Status: http.StatusServiceUnavailable, Code: "session-unavailable",
		Detail: "The session cannot be looked up at the moment. Try again shortly.", Cause: cause,
	}
	return e.With("Retry-After", retryAfter)
}
