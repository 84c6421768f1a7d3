package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/keys/dpop"
	"github.com/posterndev/postern/sidecar/keys/jwt"
)

// Proof is how a client proves that a token was issued to it (RFC 7800): by its certificate (cnf.x5t#S256, RFC 8705), or by a DPoP proof (cnf.jkt, RFC
// 9449). What a token says about the client's key is checked for each request, also if the token is cached.
type Proof struct {
	// Certificates and DPoP say which of the two are checked.
	Certificates, DPoP bool
	// Required refuses tokens that are bound to no key. A token that is bound in another way alone is always refused, unless Lenient.
	Required bool
	// Lenient accepts a token whose binding is not checked.
	Lenient bool
	// Rules are those of DPoP proofs.
	Rules dpop.Rules
	// OnFailure is what happens while Proofs.Used is not available.
	OnFailure OnFailure
}

// OnFailure is what happens to a DPoP proof while the store of used ones is not available.
type OnFailure string

// Deny responds with 503. Allow lets a local store stand in, which does not know the proofs that other replicas have accepted.
const (
	Deny  OnFailure = "Deny"
	Allow OnFailure = "Allow"
)

// UsedProofs remembers DPoP proofs. dpop.Memory implements it, and a store that all replicas share.
type UsedProofs interface {
	// FirstProof reports whether the key's proof with this jti was not used in the last ttl, and records it.
	FirstProof(ctx context.Context, key dpop.Thumbprint, id string, ttl time.Duration) (bool, error)
}

// Proofs is what proofs are checked with. It is required if a provider has a Proof.
type Proofs struct {
	// Certificate returns the SHA-256 of the client's verified certificate; ok is false if the client has none.
	Certificate func(r *http.Request) (sum [sha256.Size]byte, ok bool, err error)
	// Used are the proofs that were used, and Local stands in for it.
	Used, Local UsedProofs
}

// The scheme of tokens with a DPoP proof, and the header of the proof (RFC 9449 §7.1).
const (
	dpopPrefix = "DPoP "
	dpopHeader = "Dpop"
)

// dpopLocation is where a token with a proof is.
func dpopLocation() Location { return Location{Header: "Authorization", Prefix: dpopPrefix} }

func (l Location) isDPoP() bool {
	return http.CanonicalHeaderKey(l.Header) == "Authorization" && strings.EqualFold(l.Prefix, dpopPrefix)
}

// withDPoP reports whether the token was sent as one that is bound to a DPoP key.
func (c credential) withDPoP() bool {
	return c.header == "Authorization" && strings.EqualFold(c.prefix, dpopPrefix)
}

// bound is what a token says about the client's key. It is immutable, except for what its dpop remembers.
type bound struct {
	// certificate is nil unless the token is bound to one, and dpop unless it is bound to a DPoP key.
	certificate *[sha256.Size]byte
	dpop        *dpop.Binding
}

// bindingOf reads the claim cnf. It refuses a token without the binding that the provider requires.
func (p *provider) bindingOf(t *jwt.Token, raw string) (*bound, error) {
	if p.Proof == nil {
		return nil, nil
	}
	members, err := confirmation(t.Claims)
	if err != nil {
		return nil, err
	}
	certificate, byCertificate := members["x5t#S256"]
	key, byKey := members["jkt"]
	b := &bound{}
	if byCertificate && p.Proof.Certificates {
		sum, err := thumbprint(certificate)
		if err != nil {
			return nil, jwt.BecauseOf(jwt.ClaimRange, "cnf", "has an x5t#S256 that is not a SHA-256 in base64url")
		}
		b.certificate = &sum
	}
	if byKey && p.Proof.DPoP {
		text, _ := key.(string)
		if b.dpop, err = dpop.NewBinding(text, raw); err != nil {
			return nil, jwt.BecauseOf(jwt.ClaimRange, "cnf", "has a jkt that is not a SHA-256 in base64url")
		}
	}
	switch {
	case b.certificate != nil || b.dpop != nil:
		return b, nil
	case p.Proof.Required || (byCertificate || byKey) && !p.Proof.Lenient:
		return nil, reasonUnbound
	}
	return nil, nil
}

// confirmation returns the members of the claim cnf; nil if it is absent.
func confirmation(claims map[string]any) (map[string]any, error) {
	v, present := claims["cnf"]
	if !present {
		return nil, nil
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, jwt.BecauseOf(jwt.ClaimType, "cnf", "is %s; it must be an object", jwt.TypeName(v))
	}
	return members, nil
}

func thumbprint(v any) ([sha256.Size]byte, error) {
	text, _ := v.(string)
	return dpop.ParseThumbprint(text) // of the same form
}

// confirm checks that the client has the key that a verified token is bound to. A DPoP proof is used up by it.
func (a *authenticator) confirm(r *http.Request, c credential, v *verified) error {
	if v.bound == nil {
		if c.withDPoP() && v.provider.Proof != nil {
			return jwt.Because(reasonScheme, errors.New("it is bound to no DPoP key, and was sent with the scheme DPoP"))
		}
		return nil
	}
	if v.bound.certificate != nil {
		if err := a.confirmCertificate(r, v.bound.certificate); err != nil {
			return err
		}
	}
	switch {
	case v.bound.dpop == nil && c.withDPoP():
		return jwt.Because(reasonScheme, errors.New("it is bound to no DPoP key, and was sent with the scheme DPoP"))
	case v.bound.dpop == nil:
		return nil
	case !c.withDPoP(): // RFC 9449 §7.2: a stolen token could be used without a proof
		return jwt.Because(reasonScheme, errors.New("it is bound to a DPoP key, and was not sent with the scheme DPoP"))
	}
	return a.confirmKey(r, v)
}

func (a *authenticator) confirmCertificate(r *http.Request, want *[sha256.Size]byte) error {
	sum, ok, err := a.proofs.Certificate(r)
	switch {
	case err != nil:
		return jwt.Because(reasonNoCertificate, err)
	case !ok:
		return reasonNoCertificate
	case sum != *want:
		return reasonOtherCertificate
	}
	return nil
}

// confirmKey verifies the DPoP proof of the request, of which there must be one (RFC 9449 §4.3).
func (a *authenticator) confirmKey(r *http.Request, v *verified) error {
	proofs := r.Header[dpopHeader]
	switch len(proofs) {
	case 0:
		return jwt.Because(dpop.Invalid, dpop.Problem("the header DPoP is missing"))
	case 1:
	default:
		return jwt.Because(dpop.Invalid, dpop.Problem(fmt.Sprintf("the request has %d headers DPoP in place of one", len(proofs))))
	}
	rules := v.provider.Proof.Rules
	b := v.bound.dpop
	id, err := b.Verify(strings.Trim(proofs[0], " \t"), target(r), rules, a.now())
	if err != nil {
		return err
	}
	first, err := a.proofs.Used.FirstProof(r.Context(), b.Key(), id, rules.Lifetime())
	if err != nil && v.provider.Proof.OnFailure == Allow {
		first, err = a.proofs.Local.FirstProof(r.Context(), b.Key(), id, rules.Lifetime())
	}
	switch {
	case err != nil:
		return jwt.Because(reasonUsedUnknown, err)
	case !first:
		return reasonReplayed
	}
	return nil
}

// target returns what the proof of a request must be for: the method, and the URI that the client used, as far as a trusted proxy tells it.
func target(r *http.Request) dpop.Request {
	info := request.From(r)
	q := dpop.Request{Method: r.Method, Scheme: info.Scheme, Host: r.Host, Path: r.URL.EscapedPath()}
	if info.Proxied {
		if lines := r.Header["X-Forwarded-Host"]; len(lines) > 0 {
			q.Host = only(lines)
		}
	}
	// RequestURI is as the client sent it, before the guard has normalised it. An absolute one names the host again (RFC 9112 §3.2.2).
	if strings.HasPrefix(r.RequestURI, "/") {
		q.Path = r.RequestURI
	}
	return q
}

// only returns the only element of a list. With several, nothing says which of them a trusted proxy has added.
func only(lines []string) (element string) {
	n := 0
	for e := range field.Elements(lines) {
		element, n = e, n+1
	}
	if n != 1 {
		return ""
	}
	return element
}

// Challenge returns the challenge for DPoP of a 401 (RFC 9449 §7.1); empty if no provider asks for proofs.
func Challenge(providers []Provider) string {
	return challenge(proofAlgorithms(providers, func(p *Proof) bool { return !p.Lenient }))
}

func challenge(algorithms []string) string {
	if len(algorithms) == 0 {
		return ""
	}
	return `DPoP algs="` + strings.Join(algorithms, " ") + `"`
}

// proofAlgorithms returns the algorithms of proofs that the selected providers accept, each once.
func proofAlgorithms(providers []Provider, selected func(*Proof) bool) []string {
	var algorithms []string
	for i := range providers {
		p := providers[i].Proof
		if p == nil || !p.DPoP || !selected(p) {
			continue
		}
		for _, name := range p.Rules.Algorithms {
			if !slices.Contains(algorithms, name) {
				algorithms = append(algorithms, name)
			}
		}
	}
	return algorithms
}

func (p *Proof) validate() error {
	switch {
	case p == nil:
		return nil
	case p.OnFailure != Deny && p.OnFailure != Allow:
		return fmt.Errorf("onFailure %q of its proofs is not %s or %s", p.OnFailure, Deny, Allow)
	case p.DPoP && (len(p.Rules.Algorithms) == 0 || p.Rules.MaxAge <= 0):
		return errors.New("its DPoP proofs have no algorithms or no maximum age")
	}
	for _, name := range p.Rules.Algorithms {
		if !slices.Contains(dpop.Algorithms(), name) {
			return fmt.Errorf("%q is not an algorithm of DPoP proofs", name)
		}
	}
	return nil
}
