package transport

import (
	"net/http"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/session"
)

// clearMalformed deletes cookies of this policy that cannot be tokens, in the response of next. Cookies that a later stage sets replace that.
func (c *TokenTransport) clearMalformed(w http.ResponseWriter, r *http.Request, next stage.Handler, refresh string, hasRefresh bool) stage.Handler {
	cleared := false
	if hasRefresh {
		if _, err := session.ParseRefresh(refresh); err != nil {
			c.set(w.Header(), c.refresh, "", time.Time{})
			cleared = true
		}
	}
	if access, n := c.AccessToken(r.Header); n > 0 && !isJWS(access) {
		c.set(w.Header(), c.access, "", time.Time{})
		cleared = true
	}
	if !cleared {
		return next
	}
	return response.Decorate(func(_ *http.Request, _ int, h http.Header) { NoStore(h) })(next)
}

// isJWS reports whether s has the form of a signed token: three parts of base64url (RFC 7515 §3.1).
func isJWS(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return false
	}
	for _, part := range parts {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		}) {
			return false
		}
	}
	return true
}
