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
	// stageName is the name of the stage in decisions. retryAfter is the value of Retry-After in seconds.
	stageName  = "session"
	retryAfter = "1"
	// DefaultTouchEvery is the default interval in which a session is written at most once. DefaultCacheFor is the default time for
	// which a sidecar caches a session.
	DefaultTouchEvery = time.Minute
	DefaultCacheFor   = 10 * time.Second
	// DefaultCacheSize is the default number of sessions that a sidecar caches.
	DefaultCacheSize = 1 << 14
)

// OnFailure is how requests are treated while the store is unavailable.
type OnFailure string

// Deny responds with 503 on routes that need an identity. Allow treats the session as active.
const (
	Deny  OnFailure = "Deny"
	Allow OnFailure = "Allow"
)

// SubjectFrom is the claim that identifies the sessions of external issuers.
type SubjectFrom string

// FromNone tracks no sessions of external issuers. FromSID tracks one for each claim sid, FromSub one for each subject.
const (
	FromNone SubjectFrom = ""
	FromSID  SubjectFrom = "sid"
	FromSub  SubjectFrom = "sub"
)

// Config configures the stage. Store, OnFailure, Bind and StripCredentials are required.
type Config struct {
	// Store is read by Touch for own sessions and by Admit for external ones.
	Store Store
	// Issuer is the claim iss of the tokens that the policy issues; empty if it issues none.
	Issuer string
	// Sessionless are the issuers of identities that have no sessions, such as those of API keys.
	Sessionless []string
	// SubjectFrom and Limits are for external sessions.
	SubjectFrom SubjectFrom
	Limits      Limits
	// Bind binds a session to the device of its login.
	Bind      Bind
	OnFailure OnFailure
	// TouchEvery, CacheFor and CacheSize have defaults if 0. The first two are limited to a twentieth of a session's idle timeout.
	// The idle timeout can take effect early by each of them. A session that expired or was evicted can stay active for CacheFor
	// at a sidecar that has cached it. A session that was ended on purpose is refused at once, by package revocation or by Ended.
	TouchEvery, CacheFor time.Duration
	CacheSize            int
	// Ended reports whether the external session that began at a time was ended on purpose, as far as this process knows. A zero
	// time means any session of that id. It overrides the cache. It may be nil.
	Ended Ended
	// Watched is Ended for the active policy. It is checked while a response is being sent, and ends that response. It may be nil.
	Watched Ended
	// Shadow records decisions and lets requests pass.
	Shadow bool
	// Realm is the realm of WWW-Authenticate; it defaults to "postern".
	Realm string
	// StripCredentials removes identity headers and tokens from a request whose session has ended, so that no app trusts them.
	StripCredentials func(http.Header)
	// Events receives the external sessions that were evicted; may be nil.
	Events *event.Stream
	// Now defaults to time.Now.
	Now func() time.Time
}

// Ended reports whether a session was ended on purpose.
type Ended func(ctx context.Context, id string, began time.Time) (bool, error)

// withDefaults returns c with defaults. Its error says what to change.
func (c Config) withDefaults() (Config, error) {
	if c.Store == nil || c.StripCredentials == nil {
		return c, errors.New("Store and StripCredentials are required")
	}
	if c.SubjectFrom != FromNone && c.SubjectFrom != FromSID && c.SubjectFrom != FromSub {
		return c, fmt.Errorf("subjectFrom %q must be %s or %s", c.SubjectFrom, FromSID, FromSub)
	}
	if c.SubjectFrom != FromNone {
		if err := c.Limits.Check(); err != nil {
			return c, err
		}
	}
	if c.OnFailure != Deny && c.OnFailure != Allow {
		return c, fmt.Errorf("onFailure %q must be %s or %s", c.OnFailure, Deny, Allow)
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
	cache *results
	// again is the method look, made once.
	again func(context.Context, request.Watched) *httperr.Error
}

// NewStage returns the stage. It must come after authn and revocation and before authz. A token whose session has ended gives no
// identity, so authorization refuses the request on routes that need one, and on no others. AuthnErr is then 401 session-ended,
// session-device (another device) or session-missing (the token of an external issuer names no session), 403 session-limit (the
// session limit of an external subject), or 503 session-unavailable. An own token without sid has no session and passes. The
// stage always calls next.
func NewStage(c Config) (stage.Stage, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("building session stage: %w", err)
	}
	realm, err := httperr.QuoteRealm(c.Realm)
	if err != nil {
		return nil, fmt.Errorf("building session stage: %w", err)
	}
	s, err := newResults(c)
	if err != nil {
		return nil, fmt.Errorf("building session stage: %w", err)
	}
	checker := &checker{Config: c, realm: realm, cache: s}
	checker.again = checker.look
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			checker.check(r, request.From(r))
			return next.ServeHTTP(w, r)
		})
	}, nil
}

// check removes the identity from a request whose session has ended.
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
	info.Identity, info.AuthnErr = nil, refusal // authorization decides about the request, and records the decision
	c.StripCredentials(r.Header)
}

// watch ends the response of an external session when that is ended on purpose. For own sessions the revocation does.
func (c *checker) watch(info *request.Info, claim claim, began time.Time) {
	if c.Watched == nil || !claim.external || claim.id == "" {
		return
	}
	info.Watch(request.Watch{Rule: request.Rule{Stage: stageName}, Judge: c.again, Of: request.Watched{Session: claim.id, Began: began}})
}

// look returns why a response in progress must end, or nil.
func (c *checker) look(ctx context.Context, of request.Watched) *httperr.Error {
	if ended, err := c.Watched(ctx, of.Session, of.Began); err != nil || !ended {
		return nil
	}
	return c.ended()
}

// ended is the refusal for a session that has ended.
func (c *checker) ended() *httperr.Error {
	return httperr.InvalidToken("session-ended", c.realm, "The session has ended")
}

// judge returns the store's result for the session, and the refusal or nil.
func (c *checker) judge(r *http.Request, info *request.Info, claim claim) (result, *httperr.Error) {
	if claim.id == "" {
		return result{}, httperr.InvalidToken("session-missing", c.realm, "The token names no session")
	}
	v := c.cache.get(r.Context(), claim, func() Device { return NewDevice(r.UserAgent(), info.ClientAddr) })
	return v, c.refusal(r, info, claim, v)
}

func (c *checker) refusal(r *http.Request, info *request.Info, claim claim, v result) *httperr.Error {
	switch {
	case errors.Is(v.err, ErrEnded), v.err == nil && v.owner != claim.owner:
		return c.ended()
	case errors.Is(v.err, ErrFull):
		return &httperr.Error{
			Status: http.StatusForbidden, Code: "session-limit",
			Detail: "This account has its maximum number of sessions. End one of them and try again.",
		}
	case errors.Is(v.err, ErrInvalid):
		return httperr.InvalidToken("session-missing", c.realm, "The token names no valid session")
	case v.err != nil && c.cache.hasEnded(r.Context(), claim, v.created): // without the store, a new session of that id cannot be excluded or confirmed
		return c.ended()
	case v.err != nil:
		return c.unavailable(v.err)
	case !c.sameDevice(v.device, r, info):
		return httperr.InvalidToken("session-device", c.realm, "The session belongs to another device")
	}
	return nil
}

// sameDevice parses a User-Agent only if it differs from that of the login.
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
		Detail: "The session check is temporarily unavailable. Try again shortly.", Cause: cause,
	}
	return e.With("Retry-After", retryAfter)
}
