// Package authn verifies the bearer token of a request (RFC 6750, RFC 7519, RFC 8725). It records the identity in
// request.Info, and sets the headers that carry claims to the app. It does not decide whether the request may pass: if a
// token gives no identity, the reason is in request.Info.AuthnErr, and authorization, which must come later in the chain,
// refuses with that error if the route needs an identity. The one exception is a request with two tokens, which is refused
// here.
package authn

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/cache"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// DefaultCacheSize is the number of verified tokens in the cache if Config.CacheSize is zero.
const DefaultCacheSize = 4096

// Config configures the stage.
type Config struct {
	// Providers must have different names and issuers.
	Providers []Provider
	// Proofs is what the proofs of providers are checked with.
	Proofs Proofs
	// Realm is the realm of WWW-Authenticate; empty means "postern".
	Realm string
	// CacheSize is the maximum number of verified tokens in the cache; zero means DefaultCacheSize. maxCachedBytes limits
	// the cache as well.
	CacheSize int
	// Now returns the current time; nil means time.Now.
	Now func() time.Time
}

type authenticator struct {
	places    []place
	providers map[string]*provider // by the iss of their tokens
	headers   []string             // identity headers of all providers
	carriers  field.Names          // headers that carry tokens, in any variant of their names
	closed    []string             // headers that reach the app with a token or not at all
	forged    []string             // those of closed that an app believes a proxy to have set
	realm     string
	proofs    Proofs
	// proofAlgorithms are those of DPoP proofs, and offered is the challenge that asks for them; empty for none.
	proofAlgorithms []string
	offered         string
	now             func() time.Time
	cache           *cache.Cache[*verified]
}

// New returns the stage. Before the next stage sees the request:
//   - every identity header of any provider is removed, and set again from a verified token's claims;
//   - a header whose name is a variant of one that carries tokens (X_Token, if X-Token does) is removed: a CGI or WSGI app
//     reads both as the same header, and the variant is not verified;
//   - a header that carries tokens is removed if it holds none and either no prefix would distinguish them, or it is a header in
//     which proxies describe the client (fieldset.Forwarding);
//   - a token that is not valid is removed, so that an app that trusts the sidecar never sees one. A verified token is removed
//     as well unless its provider has ForwardToken. In Shadow mode of the policy tokens stay in the request: the app may still
//     verify them itself. One that is not valid in a header in which proxies describe the client stays only if a trusted proxy sent it;
//   - a token that is bound to a key of the client is valid only with the proof of it, of this request (Proof). The proof is removed with
//     the token;
//   - a request with more than one token, or with two headers or cookies of the name that carries it, equal or not, is refused
//     with 400 (RFC 6750 §2), unless the policy is in Shadow mode.
//
// Each token causes an event, token_verified or token_refused. The reason of a refusal is a jwt.Reason.
//
// AuthnErr has status 503 if the keys of the token's issuer or the used proofs are unavailable, and 401 for any other invalid token. It is nil for a
// request without a token.
func New(c Config) (stage.Stage, error) {
	a := &authenticator{providers: map[string]*provider{}, headers: IdentityHeaders(c.Providers), now: c.Now}
	if a.now == nil {
		a.now = time.Now
	}
	a.proofs = c.Proofs
	a.proofAlgorithms, a.offered = proofAlgorithms(c.Providers, func(*Proof) bool { return true }), Challenge(c.Providers)
	if slices.ContainsFunc(c.Providers, func(p Provider) bool { return p.Proof != nil }) && (a.proofs.Certificate == nil || a.proofs.Used == nil || a.proofs.Local == nil) {
		return nil, errors.New("building authentication: Proofs is required")
	}
	var err error
	if a.realm, err = httperr.QuoteRealm(c.Realm); err != nil {
		return nil, fmt.Errorf("building authentication: %w", err)
	}
	if err := a.addProviders(c.Providers); err != nil {
		return nil, err
	}
	a.carriers = field.NewNames(headersOfPlaces(a.places)...)
	a.closed, a.forged = closedHeaders(a.places)
	size := c.CacheSize
	if size == 0 {
		size = DefaultCacheSize
	}
	if a.cache, err = newCache(size); err != nil {
		return nil, fmt.Errorf("building authentication: token cache: %w", err)
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
		case a.providers[p.claimed()] != nil:
			return fmt.Errorf("building provider %q: provider %q has the same issuer", config.Name, a.providers[p.claimed()].Name)
		}
		names[config.Name] = true
		a.providers[p.claimed()] = p
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
	var room credential
	found, many := find(r.Header, a.places, &room)
	if many {
		refusal := twoTokens(a.realm)
		info.AuthnErr = refusal
		if err := info.Refuse(request.Rule{Stage: "authn"}, refusal); err != nil {
			return err
		}
		a.close(r.Header, nil, a.forged)
		return next.ServeHTTP(w, r)
	}
	if found == nil {
		a.close(r.Header, nil, a.closed)
		return next.ServeHTTP(w, r)
	}
	v, err := a.verify(r, info, *found)
	if err != nil {
		info.AuthnErr = a.refuse(err, found)
	} else {
		info.Identity, info.ByCookie = v.identity, found.cookie != ""
		for _, h := range v.headers {
			r.Header[h.name] = info.Values(h.value)
		}
	}
	kept := info.Shadow || v != nil && v.provider.ForwardToken
	if v == nil && !info.Proxied && slices.Contains(a.forged, found.header) {
		kept = false // no client may say it to the app in a proxy's name
	}
	if !kept {
		found.remove(r.Header)
		if found.withDPoP() {
			delete(r.Header, dpopHeader)
		}
	}
	a.close(r.Header, found, a.closed)
	return next.ServeHTTP(w, r)
}

// close removes those of names that do not hold the request's token, which is nil if there is none.
func (a *authenticator) close(h http.Header, found *credential, names []string) {
	for _, name := range names {
		if found == nil || found.header != name {
			delete(h, name)
		}
	}
}

func (a *authenticator) removeVariants(h http.Header) {
	for name := range h {
		if a.carriers.Has(name) && !slices.ContainsFunc(a.places, func(p place) bool { return p.header == name }) {
			delete(h, name)
		}
	}
}

// StripCredentials returns a function that removes what the stage gave to the app: every identity header of providers, and the
// verified token in any header or cookie. A later stage calls it if the token is revoked.
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
			if found, ok, _ := p.find(h); ok {
				found.remove(h)
				if found.withDPoP() {
					delete(h, dpopHeader)
				}
			}
		}
	}, nil
}
