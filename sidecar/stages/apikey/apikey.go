// Package apikey gives requests with a valid API key, or the name and password of a user, an identity. It must come after authn, because a request with a token and a key
// is refused here with 400, and before revocation and authorization, which judge the identity. If a key gives no identity, the reason is in
// request.Info.AuthnErr: 401 for a key or a user that is not valid, and 503 while the file is unavailable or too many passwords are being hashed. Authorization refuses with it on the
// routes that need an identity, and on no others. The stage has no state that could fail open: without a key file no key is valid.
package apikey

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	keys "github.com/posterndev/postern/sidecar/keys/apikey"
)

// Keys gives the current key file; keys.Store is one.
type Keys interface {
	File() (*keys.File, error)
}

// Config configures the stage. From, and Keys, Users or both are required.
type Config struct {
	From []Location
	// Keys verifies keys, and Users the users of Basic authentication. With Users, the password of a Location with BasicAuth is never a
	// key.
	Keys  *KeySource
	Users *UserSource
	// Current ends responses in progress whose key or user is not in its files; nil means those of Keys and Users.
	Current *Current
	// Headers returns the headers that carry an identity's claims to the app; nil for none.
	Headers func(*identity.Identity) (http.Header, error)
	// ForwardKey leaves a valid key in its header. A key in the query is always removed.
	ForwardKey bool
	// Shadow only records that a request has several credentials.
	Shadow bool
	// Realm of WWW-Authenticate; empty means "postern".
	Realm string
	// Now returns the current time; nil means time.Now.
	Now func() time.Time
}

// KeySource gives API keys the identities of a provider. All fields are required.
type KeySource struct {
	Provider, Issuer string
	Keys
}

type authenticator struct {
	Config
	places     []place
	challenges []string
}

// New returns the stage. Before the next stage sees the request, every key is removed from it, unless ForwardKey leaves a valid one, or
// the policy is in Shadow mode, where the app may still verify keys itself.
//
// Each key causes an event, token_verified or token_refused. The reason of a refusal is one of Reasons.
func New(c Config) (stage.Stage, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("building API keys: %w", err)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	a := &authenticator{Config: c, places: placesOf(c.From)}
	var err error
	if a.challenges, err = Challenges(c.From, c.Realm); err != nil {
		return nil, fmt.Errorf("building API keys: %w", err)
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if err := a.authenticate(r); err != nil {
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}, nil
}

func (c *Config) check() error {
	switch {
	case len(c.From) == 0 || c.Keys == nil && c.Users == nil:
		return errors.New("checking settings of API keys: From, and Keys or Users are required")
	case c.Keys != nil && (c.Keys.Keys == nil || c.Keys.Provider == "" || c.Keys.Issuer == ""):
		return errors.New("checking settings of API keys: Keys needs a Provider, an Issuer and a file")
	case c.Users != nil && (c.Users.Users == nil || c.Users.Provider == "" || c.Users.Issuer == ""):
		return errors.New("checking settings of API keys: Users needs a Provider, an Issuer and a file")
	}
	for _, l := range c.From {
		if c.Keys == nil && !l.BasicAuth {
			return errors.New("checking settings of API keys: without Keys, From can only be BasicAuth")
		}
	}
	return nil
}

// authenticate returns the refusal of a request with several credentials.
func (a *authenticator) authenticate(r *http.Request) error {
	info := request.From(r)
	found, many := a.find(r)
	kept := info.Shadow
	defer func() {
		if !kept {
			a.removeHeaders(r.Header)
		}
		a.removeQuery(r)
	}()
	withToken := info.Identity != nil || info.AuthnErr != nil
	switch {
	case many || found != nil && withToken:
		refusal := a.several()
		if !withToken {
			info.AuthnErr = refusal
		}
		return info.Refuse(request.Rule{Stage: "apikey", Shadow: a.Shadow}, refusal)
	case found == nil:
		return nil
	}
	verify := a.verifyKey
	if a.isUser(found) {
		verify = a.verifyUser
	}
	if refusal := a.accept(r, verify(r, found)); refusal != nil {
		info.AuthnErr = refusal
		return nil
	}
	kept = kept || a.ForwardKey
	return nil
}

// isUser reports whether the credential is that of a user, and not a key.
func (a *authenticator) isUser(c *credential) bool { return a.Users != nil && c.basic }

// verified is a credential that was verified.
type verified struct {
	provider, issuer string
	// id is nil if the credential gives no identity. refusal and reason say why.
	id      *identity.Identity
	refusal *httperr.Error
	reason  Reason
	// used records the use; nil if it is not recorded. watch ends responses in progress.
	used  func()
	watch func() *httperr.Error
}

func (a *authenticator) verifyKey(_ *http.Request, c *credential) verified {
	v := verified{provider: a.Keys.Provider, issuer: a.Keys.Issuer}
	entry, reason, err := a.lookUp(c)
	if entry == nil {
		v.reason, v.refusal = reason, a.refuse(reason, err)
		return v
	}
	v.id = a.identityOf(entry)
	v.used = func() { entry.Used(a.Now()) }
	v.watch = func() *httperr.Error { return a.ended(entry) }
	return v
}

// lookUp returns the entry of a key, or why there is none. A key with a wrong checksum is refused without a look-up.
func (a *authenticator) lookUp(c *credential) (*keys.Entry, Reason, error) {
	if c.malformed || keys.Check(c.key) != nil {
		return nil, Malformed, nil
	}
	file, err := a.Keys.File()
	if err != nil {
		return nil, Unavailable, err
	}
	entry := file.Lookup(c.key)
	switch {
	case entry == nil:
		return nil, Unknown, nil
	case entry.Expired(a.Now()):
		return nil, Expired, nil
	}
	return entry, "", nil
}

// accept gives the request the identity of the credential. It returns the refusal if there is none, or if the claims do not fit into
// the app's headers.
func (a *authenticator) accept(r *http.Request, v verified) *httperr.Error {
	info := request.From(r)
	if v.id != nil && a.Headers != nil {
		headers, err := a.Headers(v.id)
		if err != nil {
			v.id, v.reason, v.refusal = nil, ClaimHeaders, a.refuse(ClaimHeaders, err)
		}
		for name, values := range headers {
			r.Header[name] = values
		}
	}
	if v.id == nil {
		emitRefused(info, v)
		return v.refusal
	}
	if v.used != nil {
		v.used()
	}
	info.Identity = v.id
	info.Actor = event.Actor{Provider: v.provider, Issuer: v.issuer, Subject: v.id.Subject, TokenID: v.id.TokenID}
	info.Emit(event.Event{Kind: event.TokenVerified, Outcome: event.Success})
	info.Watch(request.Watch{Rule: request.Rule{Stage: "apikey"}, Judge: func(context.Context, request.Watched) *httperr.Error { return v.watch() }})
	return nil
}

// ended returns a refusal if a key expires or is no longer in the file of the active policy. There is none while there is no file.
func (a *authenticator) ended(e *keys.Entry) *httperr.Error {
	now := a.judging()
	switch {
	case now == nil:
		return nil
	case now.Keys == nil:
		return a.refuse(Unknown, nil)
	}
	file, err := now.Keys.File()
	switch {
	case err != nil:
		return nil
	case file.Get(e) == nil:
		return a.refuse(Unknown, nil)
	case file.Get(e).Expired(a.Now()):
		return a.refuse(Expired, nil)
	}
	return nil
}

func emitRefused(info *request.Info, v verified) {
	outcome := event.Refused
	if v.reason == Unavailable || v.reason == UsersUnavailable || v.reason == Busy {
		outcome = event.Failed
	}
	info.Emit(event.Event{Kind: event.TokenRefused, Outcome: outcome, Reason: string(v.reason), Actor: event.Actor{Provider: v.provider, Issuer: v.issuer}})
}
