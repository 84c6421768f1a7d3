// Package authn verifies the bearer token of a request (RFC 6750, RFC 7519, RFC 8725) and tells what it says: the
// identity in request.Info, and the claims that the policy hands to the app as headers. It decides nothing: why a token
// gave no identity is recorded in request.Info.AuthnErr, and authorization, which must come later in the chain, refuses
// with it where the route needs an identity. The one exception is a request with two tokens.
package authn

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// DefaultCacheSize is how many verified tokens are kept where Config.CacheSize is zero.
const DefaultCacheSize = 4096

// Config is what authentication needs.
type Config struct {
	// Providers have different names and issuers.
	Providers []Provider
	// Realm is the realm of WWW-Authenticate; empty for "postern".
	Realm string
	// CacheSize bounds the verified tokens that are remembered; zero is DefaultCacheSize. They are bounded by
	// maxCachedBytes as well.
	CacheSize int
	// Now is time.Now where nil.
	Now func() time.Time
}

type authenticator struct {
	places    []place
	providers map[string]*provider // by issuer
	headers   []string             // identity headers of all providers
	carriers  field.Names          // fields that hold tokens, in any variant of their names
	realm     string
	now       func() time.Time
	cache     *cache
}

// New returns the stage. Before the next stage sees the request:
//   - every identity header of any provider is removed, and set again from a verified token's claims;
//   - a field whose name is a variant of one that holds tokens (X_Token, where X-Token does) is removed: to a CGI or WSGI
//     app it is the same field, and it has not been verified;
//   - a token that was not verified is removed, so that an app which trusts the sidecar never sees one, and so is a verified
//     one unless its provider has ForwardToken. In Shadow mode of the policy tokens stay where they are: the app may still
//     check them itself;
//   - a request with more than one token, or with two fields or cookies of a token's name, equal or not, is refused with 400
//     (RFC 6750 §2), subject to Shadow.
//
// Each token is an event, token_verified or token_refused, whose reason is a jwt.Reason.
//
// A token whose issuer's keys are unavailable gives an AuthnErr with status 503, any other bad one 401; no token gives none.
func New(c Config) (stage.Stage, error) {
	a := &authenticator{providers: map[string]*provider{}, headers: IdentityHeaders(c.Providers), now: c.Now}
	if a.now == nil {
		a.now = time.Now
	}
	var err error
	if a.realm, err = httperr.QuoteRealm(c.Realm); err != nil {
		return nil, fmt.Errorf("building authentication: %w", err)
	}
	if err := a.addProviders(c.Providers); err != nil {
		return nil, err
	}
	a.carriers = field.NewNames(headersOfPlaces(a.places)...)
	size := c.CacheSize
	if size == 0 {
		size = DefaultCacheSize
	}
	if a.cache, err = newCache(size); err != nil {
		return nil, err
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error { return a.serve(w, r, next) })
	}, nil
}

func (a *authenticator) addProviders(providers []Provider) error {
	if len(providers) == 0 {
		return errors.New("building authentication: no provider")
	}
	names := map[string]bool{}
	for _, config := range providers {
		p, err := newProvider(config)
		if err != nil {
			return fmt.Errorf("building provider %q: %w", config.Name, err)
		}
		switch {
		case names[config.Name]:
			return fmt.Errorf("building provider %q: the name is used twice", config.Name)
		case a.providers[config.Issuer] != nil:
			return fmt.Errorf("building provider %q: provider %q has the same issuer", config.Name, a.providers[config.Issuer].Name)
		}
		names[config.Name] = true
		a.providers[config.Issuer] = p
		a.places = addPlaces(a.places, p.From)
	}
	return nil
}

func (a *authenticator) serve(w http.ResponseWriter, r *http.Request, next stage.Handler) error {
	info := request.From(r)
	for _, name := range a.headers {
		delete(r.Header, name)
	}
	a.removeVariants(r.Header)
	found, many := find(r.Header, a.places)
	if many {
		refusal := twoTokens(a.realm)
		info.AuthnErr = refusal
		if err := info.Refuse(request.Rule{Stage: "authn"}, refusal); err != nil {
			return err
		}
		return next.ServeHTTP(w, r)
	}
	if found == nil {
		return next.ServeHTTP(w, r)
	}
	v, err := a.verify(r.Context(), info, *found)
	if err != nil {
		info.AuthnErr = refuse(err, a.realm)
	} else {
		info.Identity, info.ByCookie = v.identity, found.cookie != ""
		for _, h := range v.headers {
			r.Header[h.name] = []string{h.value}
		}
	}
	if !info.Shadow && (v == nil || !v.provider.ForwardToken) {
		found.remove(r.Header)
	}
	return next.ServeHTTP(w, r)
}

func (a *authenticator) removeVariants(h http.Header) {
	for name := range h {
		if a.carriers.Has(name) && !slices.ContainsFunc(a.places, func(p place) bool { return p.header == name }) {
			delete(h, name)
		}
	}
}

// StripCredentials returns a function that removes what the stage handed to the app: every identity header of providers, and the
// verified token, wherever it is. A later stage that finds the token revoked calls it.
func StripCredentials(providers []Provider) (func(http.Header), error) {
	a := &authenticator{providers: map[string]*provider{}}
	if err := a.addProviders(providers); err != nil {
		return nil, err
	}
	names := IdentityHeaders(providers)
	return func(h http.Header) {
		for _, name := range names {
			delete(h, name)
		}
		for _, p := range a.places {
			if found, _ := p.find(h); found != nil {
				found.remove(h)
			}
		}
	}, nil
}
