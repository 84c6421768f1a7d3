// Package clientaddr determines the client's address, and makes the forwarding headers safe for the app.
//
// The client is the first address in X-Forwarded-For, from right to left, that is not a trusted proxy. Everything to
// the left of it comes from an untrusted source. If the peer itself is not trusted, all known forwarding headers are
// removed. If it is trusted, they are kept, but X-Forwarded-For is cut to the verified part, because many apps read
// its leftmost address. Then the peer is appended, as proxies do, and X-Forwarded-Proto and -Host are set if they are
// absent. The upstream stage sends the result unchanged.
//
// A header that the policy reads tokens from, such as X-Forwarded-Access-Token or CF-Turnstile-Response, is kept from any peer: a
// token proves itself. Authentication removes it before the app sees it, and login protection that of a challenge on its routes.
package clientaddr

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// locator is the compiled stage.
type locator struct {
	trusted    []netip.Prefix
	untrusted  func(peer netip.Addr)
	forwarding field.Names
	// tokens are the headers that carry tokens, in canonical form.
	tokens map[string]bool
}

// Config configures the stage.
type Config struct {
	// Trusted are the networks of the proxies in front of the sidecar.
	Trusted []netip.Prefix
	// Tokens are the headers that a later stage reads tokens from and removes; variants of their names are dropped.
	Tokens []string
	// Untrusted is called for each request with the forwarding headers of a proxy whose peer is not trusted. It may be nil.
	Untrusted func(peer netip.Addr)
}

// New returns the stage. A request fails with 500 if the listener does not report the peer's address.
func New(c Config) stage.Stage {
	l := &locator{trusted: unmapped(c.Trusted), untrusted: c.Untrusted, forwarding: field.NewNames(fieldset.Forwarding()...), tokens: map[string]bool{}}
	for _, name := range c.Tokens {
		l.tokens[http.CanonicalHeaderKey(name)] = true
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if err := l.locate(r); err != nil {
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}
}

// unmapped returns prefixes with those inside ::ffff:0:0/96 converted to IPv4.
func unmapped(prefixes []netip.Prefix) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out
}

// Locator finds the client's address before the stages run.
type Locator struct{ trusted []netip.Prefix }

// NewLocator returns a Locator with the networks of the proxies in front of the sidecar.
func NewLocator(trusted []netip.Prefix) Locator { return Locator{trusted: unmapped(trusted)} }

// Trusts reports whether the peer of r is a trusted proxy.
func (l Locator) Trusts(r *http.Request) bool {
	if len(l.trusted) == 0 {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	return err == nil && (&locator{trusted: l.trusted}).trusts(plain(peer.Addr()))
}

// Client returns the client's address by the same rules as the stage, without changing r, and whether the peer is a trusted proxy.
// The address is invalid if the peer's is unknown, or if the request passed trusted proxies alone: a proxy is not a client.
func (l Locator) Client(r *http.Request) (addr netip.Addr, proxied bool) {
	peerPort, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	peer, s := plain(peerPort.Addr()), &locator{trusted: l.trusted}
	if !s.trusts(peer) {
		return peer, false
	}
	client, _ := s.walk(peer, r.Header["X-Forwarded-For"])
	if s.trusts(client) {
		return netip.Addr{}, true
	}
	return client, true
}

func (l *locator) locate(r *http.Request) error {
	peerPort, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return fmt.Errorf("parsing peer address: %w", err)
	}
	peer := plain(peerPort.Addr())
	info := request.From(r)
	info.ClientAddr = peer
	chain := text(peer, r.RemoteAddr)
	if l.trusts(peer) {
		l.drop(r.Header, isVariant)
		client, proxies := l.walk(peer, r.Header["X-Forwarded-For"])
		info.ClientAddr, info.Proxied = client, true
		info.Scheme = scheme(r.Header["X-Forwarded-Proto"])
		if proxies != "" {
			chain = proxies + ", " + chain
		}
	} else {
		if l.untrusted != nil && isForwarded(r.Header) {
			l.untrusted(peer)
		}
		l.drop(r.Header, nil)
	}
	setForwarded(r, info, chain)
	return nil
}

// text returns peer as text: a part of remote, if that has it.
func text(peer netip.Addr, remote string) string {
	var room [64]byte
	canonical := peer.AppendTo(room[:0])
	if len(remote) > len(canonical) && remote[:len(canonical)] == string(canonical) {
		return remote[:len(canonical)]
	}
	return string(canonical)
}

// isForwarded reports whether h has the headers that most proxies add.
func isForwarded(h http.Header) bool {
	return len(h["X-Forwarded-For"]) > 0 || len(h["X-Forwarded-Proto"]) > 0 || len(h["Forwarded"]) > 0
}

// drop removes the forwarding headers that only selects by name, or all of them if only is nil. It keeps those that carry
// tokens.
func (l *locator) drop(h http.Header, only func(name string) bool) {
	for name := range h {
		if l.forwarding.Has(name) && !l.tokens[name] && (only == nil || only(name)) {
			delete(h, name)
		}
	}
}

// isVariant reports whether name is a spelling that no proxy uses. A client's X_Forwarded_For passes many proxies,
// and a CGI or WSGI app reads it as X-Forwarded-For.
func isVariant(name string) bool { return strings.ContainsAny(name, "_.!#$%&'*+^`|~") }

// setForwarded sets the headers that tell the app about the client.
func setForwarded(r *http.Request, info *request.Info, chain string) {
	r.Header["X-Forwarded-For"] = info.Values(chain)
	if len(r.Header["X-Forwarded-Proto"]) == 0 {
		r.Header["X-Forwarded-Proto"] = info.Values("http")
	}
	if len(r.Header["X-Forwarded-Host"]) == 0 {
		r.Header["X-Forwarded-Host"] = info.Values(r.Host)
	}
}

// scheme reads X-Forwarded-Proto from a trusted proxy. In a list, the client's value comes first.
func scheme(lines []string) string {
	for element := range field.Elements(lines) {
		switch {
		case strings.EqualFold(element, "https"):
			return "https"
		case strings.EqualFold(element, "http"):
			return "http"
		}
		return ""
	}
	return ""
}

func (l *locator) trusts(a netip.Addr) bool {
	for _, p := range l.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
