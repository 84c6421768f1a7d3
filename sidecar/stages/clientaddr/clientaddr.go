// Package clientaddr finds out who the client is, and makes what proxies say about it safe for the app.
//
// The client is the first address, from right to left through X-Forwarded-For, that is not a trusted proxy's: what stands
// left of it was said by nobody we trust. Where the peer itself is not trusted, its forwarding headers are removed, all
// that are known. Where it is, they are kept, but X-Forwarded-For is cut to the part that was verified, since many apps
// read its leftmost address. Then the peer is appended, as proxies do, and X-Forwarded-Proto and -Host are set where they
// are absent. The upstream stage sends the result as it is.
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
	forwarding field.Names
}

// New returns the stage; trusted are the networks of the proxies in front of us. It fails, with 500, where the listener
// does not say who the peer is.
func New(trusted []netip.Prefix) stage.Stage {
	l := &locator{trusted: unmapped(trusted), forwarding: field.NewNames(fieldset.Forwarding()...)}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if err := l.locate(r); err != nil {
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}
}

// unmapped returns prefixes with those inside ::ffff:0:0/96 as the IPv4 ones that they are.
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

func (l *locator) locate(r *http.Request) error {
	peerPort, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return fmt.Errorf("parsing peer address: %w", err)
	}
	peer := plain(peerPort.Addr())
	info := request.From(r)
	info.ClientAddr = peer
	chain := peer.String()
	if l.trusts(peer) {
		l.drop(r.Header, isVariant)
		client, proxies := l.walk(peer, r.Header["X-Forwarded-For"])
		info.ClientAddr = client
		info.Scheme = scheme(r.Header["X-Forwarded-Proto"])
		if proxies != "" {
			chain = proxies + ", " + chain
		}
	} else {
		l.drop(r.Header, nil)
	}
	setForwarded(r, chain)
	return nil
}

// drop removes the forwarding headers whose names are also chosen by only, or all of them where that is nil.
func (l *locator) drop(h http.Header, only func(name string) bool) {
	for name := range h {
		if l.forwarding.Has(name) && (only == nil || only(name)) {
			delete(h, name)
		}
	}
}

// isVariant reports whether name is no proxy's way to write it: the client's X_Forwarded_For passes many proxies, and is
// X-Forwarded-For to a CGI or WSGI app.
func isVariant(name string) bool { return strings.ContainsAny(name, "_.!#$%&'*+^`|~") }

// setForwarded tells the app about the client.
func setForwarded(r *http.Request, chain string) {
	r.Header["X-Forwarded-For"] = []string{chain}
	if len(r.Header["X-Forwarded-Proto"]) == 0 {
		r.Header["X-Forwarded-Proto"] = []string{"http"}
	}
	if len(r.Header["X-Forwarded-Host"]) == 0 {
		r.Header["X-Forwarded-Host"] = []string{r.Host}
	}
}

// scheme reads a trusted proxy's X-Forwarded-Proto. A list is written client first.
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
