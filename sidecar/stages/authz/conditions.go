package authz

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// Conditions must all hold for a request that a rule matches. A condition that cannot be decided, because the request lacks what it
// is about, does not hold. The zero value has none.
type Conditions struct {
	// Claims, Scopes and Providers hold only for requests with an identity. Scopes are compared to the claim scope, or to scp if the
	// token has no scope; nil for none.
	Claims    []Claim
	Scopes    *identity.Members
	Providers []string
	// ClientAddresses and NotClientAddresses are networks or addresses in the form of check.Network.
	ClientAddresses, NotClientAddresses []string
	// Hosts have the form of check.ParseHostPattern.
	Hosts   []string
	Headers []Header
	// Expression is evaluated after all other conditions; nil for none. If it returns an error, it does not hold. It is called once, so
	// it must itself hold for every reading of the path, info.Target().
	Expression func(*http.Request, *request.Info) (bool, error)
}

// Claim is a claim that an identity must have, by its name or dotted path.
type Claim struct {
	Path string
	identity.Members
}

// Header is a condition for one request header: exactly one of Values, Prefix and Present is set. With Values and Prefix the request
// must have the header exactly once, because apps differ in which of several they read. With Present it must have the header at
// least once and not empty, or must not have it at all.
type Header struct {
	Name    string
	Values  []string
	Prefix  string
	Present *bool
}

// Kinds of conditions, for the log. They are the names of the policy's fields.
const (
	kindClaims             = "claims"
	kindScopes             = "scopes"
	kindProviders          = "providers"
	kindClientAddresses    = "clientAddresses"
	kindNotClientAddresses = "notClientAddresses"
	kindHosts              = "hosts"
	kindHeaders            = "headers"
	kindExpression         = "expression"
)

// conditions are valid Conditions.
type conditions struct {
	claims     []Claim
	providers  []string
	in, notIn  []netip.Prefix
	hosts      []check.HostPattern
	headers    []Header
	scopes     *scopes
	expression func(*http.Request, *request.Info) (bool, error)
}

// compile checks in as the operator does. realm is quoted.
func (in *Conditions) compile(realm string) (*conditions, error) {
	if err := check.Error(check.Conditions(in.section())); err != nil {
		return nil, err
	}
	out := &conditions{claims: in.Claims, providers: in.Providers, expression: in.Expression}
	var err error
	if out.in, err = networks(in.ClientAddresses); err != nil {
		return nil, err
	}
	if out.notIn, err = networks(in.NotClientAddresses); err != nil {
		return nil, err
	}
	for _, text := range in.Hosts {
		pattern, err := check.ParseHostPattern(text)
		if err != nil {
			return nil, err
		}
		out.hosts = append(out.hosts, pattern)
	}
	for _, h := range in.Headers {
		h.Name = http.CanonicalHeaderKey(h.Name)
		out.headers = append(out.headers, h)
	}
	if in.Scopes != nil {
		out.scopes = newScopes(*in.Scopes, realm)
	}
	return out, nil
}

// section returns the conditions in the form that package check validates.
func (in *Conditions) section() *check.RuleConditions {
	out := &check.RuleConditions{
		Scopes: (*check.ClaimMembers)(in.Scopes), Providers: in.Providers, ClientAddresses: in.ClientAddresses,
		NotClientAddresses: in.NotClientAddresses, Hosts: in.Hosts,
	}
	for _, c := range in.Claims {
		out.Claims = append(out.Claims, check.ClaimCondition{Claim: c.Path, ClaimMembers: check.ClaimMembers(c.Members)})
	}
	for _, h := range in.Headers {
		out.Headers = append(out.Headers, check.HeaderCondition(h))
	}
	return out
}

func networks(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		network, err := check.Network(text)
		if err != nil {
			return nil, err
		}
		out = append(out, network)
	}
	return out, nil
}

// any reports whether there is a condition.
func (c *conditions) any() bool {
	return len(c.claims)+len(c.providers)+len(c.in)+len(c.notIn)+len(c.hosts)+len(c.headers) > 0 || c.scopes != nil || c.expression != nil
}

// needIdentity reports whether there is a condition that no anonymous request meets.
func (c *conditions) needIdentity() bool {
	return len(c.claims)+len(c.providers) > 0 || c.scopes != nil
}

// judge returns the refusal of the request and the kind of the condition that does not hold, or nil. Scopes come after the conditions
// that a token with more scopes would not meet either.
func (c *conditions) judge(r *http.Request, info *request.Info) (*httperr.Error, string) {
	if kind := c.failing(r, info); kind != "" {
		return denied(nil), kind
	}
	if c.scopes != nil {
		if refusal := c.scopes.judge(info.Identity); refusal != nil {
			return refusal, kindScopes
		}
	}
	if c.expression == nil {
		return nil, ""
	}
	holds, err := c.expression(r, info)
	if err != nil || !holds {
		return denied(err), kindExpression
	}
	return nil, ""
}

// failing returns the kind of the first condition that does not hold, among those whose refusal says nothing but no.
func (c *conditions) failing(r *http.Request, info *request.Info) string {
	switch {
	case len(c.providers) > 0 && (info.Identity == nil || !slices.Contains(c.providers, info.Identity.Provider)):
		return kindProviders
	case len(c.in) > 0 && !within(c.in, info.ClientAddr):
		return kindClientAddresses
	case len(c.notIn) > 0 && (!info.ClientAddr.IsValid() || within(c.notIn, info.ClientAddr)):
		return kindNotClientAddresses
	case len(c.hosts) > 0 && !named(c.hosts, r.Host):
		return kindHosts
	}
	for i := range c.headers {
		if !c.headers[i].holds(r.Header) {
			return kindHeaders
		}
	}
	for i := range c.claims {
		value, ok := info.Identity.Claim(c.claims[i].Path)
		if !ok || !c.claims[i].MetBy(value) {
			return kindClaims
		}
	}
	return ""
}

func within(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func named(patterns []check.HostPattern, authority string) bool {
	host := check.Host(authority)
	return slices.ContainsFunc(patterns, func(p check.HostPattern) bool { return p.Match(host) })
}

func (h *Header) holds(header http.Header) bool {
	lines := header[h.Name]
	if h.Present != nil {
		if !*h.Present {
			return len(lines) == 0
		}
		return slices.ContainsFunc(lines, func(line string) bool { return line != "" })
	}
	if len(lines) != 1 {
		return false
	}
	if h.Prefix != "" {
		return strings.HasPrefix(lines[0], h.Prefix)
	}
	return slices.Contains(h.Values, lines[0])
}

// denied returns the refusal of a request for which a condition does not hold. The client learns nothing about the condition.
func denied(cause error) *httperr.Error {
	return &httperr.Error{Status: http.StatusForbidden, Code: "access-denied", Detail: "Access to this resource is denied.", Cause: cause}
}
