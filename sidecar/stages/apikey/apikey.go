// Package apikey gives requests with a valid API key an identity. It must come after authn, because a request with a token and a key
// is refused here with 400, and before revocation and authorization, which judge the identity. If a key gives no identity, the reason is in
// request.Info.AuthnErr: 401 for a key that is not valid, and 503 while the key file is unavailable. Authorization refuses with it on the
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

// Config configures the stage. Provider, Issuer, From and Keys are required.
type Config struct {
	// Provider and Issuer are those of the identities.
	Provider, Issuer string
	From             []Location
	Keys             Keys
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
	if c.Provider == "" || c.Issuer == "" || len(c.From) == 0 || c.Keys == nil {
		return nil, errors.New("building API keys: Provider, Issuer, From and Keys are required")
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
	entry, reason, err := a.verify(found)
	if entry == nil {
		info.AuthnErr = a.refuse(reason, err)
		a.emitRefused(info, reason)
		return nil
	}
	if refusal := a.accept(r, info, entry); refusal != nil {
		info.AuthnErr = refusal
		return nil
	}
	kept = kept || a.ForwardKey
	return nil
}

// verify returns the entry of a key, or why there is none. A key with a wrong checksum is refused without a look-up.
func (a *authenticator) verify(c *credential) (*keys.Entry, Reason, error) {
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

// accept gives the request the identity of the entry. It returns the refusal if the claims do not fit into the app's headers.
func (a *authenticator) accept(r *http.Request, info *request.Info, e *keys.Entry) *httperr.Error {
	id := a.identityOf(e)
	if a.Headers != nil {
		headers, err := a.Headers(id)
		if err != nil {
			a.emitRefused(info, ClaimHeaders)
			return a.refuse(ClaimHeaders, err)
		}
		for name, values := range headers {
			r.Header[name] = values
		}
	}
	e.Used(a.Now())
	info.Identity = id
	info.Actor = event.Actor{Provider: a.Provider, Issuer: a.Issuer, Subject: id.Subject, TokenID: id.TokenID}
	info.Emit(event.Event{Kind: event.TokenVerified, Outcome: event.Success})
	info.Watches = append(info.Watches, a.watch(e))
	return nil
}

// watch ends a response in progress when its key expires or is no longer in the file. It goes on while there is no file.
func (a *authenticator) watch(e *keys.Entry) request.Watch {
	return request.Watch{Rule: request.Rule{Stage: "apikey"}, Judge: func(context.Context) *httperr.Error {
		file, err := a.Keys.File()
		switch {
		case err != nil:
			return nil
		case file.Get(e) == nil:
			return a.refuse(Unknown, nil)
		case file.Get(e).Expired(a.Now()):
			return a.refuse(Expired, nil)
		}
		return nil
	}}
}

func (a *authenticator) emitRefused(info *request.Info, reason Reason) {
	outcome := event.Refused
	if reason == Unavailable {
		outcome = event.Failed
	}
	info.Emit(event.Event{Kind: event.TokenRefused, Outcome: outcome, Reason: string(reason), Actor: event.Actor{Provider: a.Provider, Issuer: a.Issuer}})
}
