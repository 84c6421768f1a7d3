// Package plaintext decides about requests that came without TLS to a policy that serves it: they are refused, redirected to https, or pass. It must come
// after clientaddr, which determines the client's scheme, and before every stage that serves anything.
//
// Redirects are for every method, with the status 308, so that a request is repeated as it was. The target has the host, path and query of the request, so a
// client can redirect only itself.
package plaintext

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// Config configures the stage.
type Config struct {
	// Require refuses plain requests.
	Require bool
	// RedirectPort is the port of the https URL; 0 to redirect nothing.
	RedirectPort uint16
}

// New returns the stage. In Shadow mode of the policy, plain requests pass.
func New(c Config) stage.Stage {
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			if err := c.judge(r); err != nil {
				return err
			}
			return next.ServeHTTP(w, r)
		})
	}
}

// judge returns the refusal of a plain request. A trusted proxy may have got the request by https: it is not redirected, because it would come back the same
// way for ever.
func (c Config) judge(r *http.Request) error {
	info := request.From(r)
	if info.TLS != nil {
		return nil
	}
	if c.RedirectPort != 0 && info.Scheme != "https" {
		if to, ok := target(r, c.RedirectPort); ok {
			return info.Refuse(request.Rule{Stage: stageName}, redirect(to))
		}
	}
	if !c.Require {
		return nil
	}
	// RFC 9110 §15.5.22: a 426 would need an Upgrade within the connection, which no client does for TLS.
	return info.Refuse(request.Rule{Stage: stageName}, &httperr.Error{
		Status: http.StatusBadRequest, Code: "tls-required", Detail: "This port speaks TLS only. Use https.",
	})
}

const stageName = "plaintext"

func redirect(to string) *httperr.Error {
	// RFC 9110 §15.1: a 308 is cacheable, and a policy can change.
	return (&httperr.Error{Status: http.StatusPermanentRedirect, Code: "tls-redirect", Detail: "Use https."}).With("Location", to).With("Cache-Control", "no-store")
}

// target returns the https URL of a request; ok is false if its host is no host, or it has no path.
func target(r *http.Request, port uint16) (to string, ok bool) {
	host := hostOf(r.Host)
	if host == "" || !strings.HasPrefix(r.URL.Path, "/") {
		return "", false
	}
	if port != 443 {
		host += ":" + strconv.Itoa(int(port))
	}
	to = "https://" + host + r.URL.EscapedPath()
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		to += "?" + r.URL.RawQuery
	}
	return to, plain(to)
}

// hostOf returns the host of an authority without its port; empty if it is not a name or an address.
func hostOf(authority string) string {
	host := authority
	if h, _, err := net.SplitHostPort(authority); err == nil {
		host = h
	}
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && a.Zone() == "" {
		if a.Is6() {
			return "[" + a.String() + "]"
		}
		return a.String()
	}
	for i := range len(host) {
		c := host[i]
		if ('a' > c|0x20 || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_' {
			return ""
		}
	}
	return host
}

// plain reports whether a text is printable ASCII without spaces, as a field's value must be here.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
