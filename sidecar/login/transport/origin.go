package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

func csrfRule() request.Rule { return request.Rule{Stage: "token", Name: "csrf"} }

// CheckOrigin refuses a request that a page of another origin made a browser send. With delivery Body it refuses nothing,
// because browsers do not send tokens by themselves.
func (c *TokenTransport) CheckOrigin(r *http.Request) error {
	if c.delivery != Cookie {
		return nil
	}
	return c.RefuseCrossOrigin(r)
}

// RefuseCrossOrigin refuses an unsafe request from another origin, with any delivery.
func (c *TokenTransport) RefuseCrossOrigin(r *http.Request) error {
	err := c.protection.Check(asUnsafe(r))
	if err == nil {
		return nil
	}
	return request.From(r).Refuse(csrfRule(), &httperr.Error{
		Status: http.StatusForbidden, Code: "cross-origin", Cause: err,
		Detail: "Requests from other origins that change something are not accepted with the cookies of this site.",
	})
}

// OwnPage reports whether a page of the app's own origin, or of a trusted one, or no page at all, made the browser send r. Unlike
// RefuseCrossOrigin it does not distinguish methods.
func (c *TokenTransport) OwnPage(r *http.Request) bool {
	unsafe := *r
	unsafe.Method = http.MethodPost
	return c.protection.Check(&unsafe) == nil
}

// asUnsafe returns r. For a WebSocket handshake, which is a GET, it returns a copy with the method POST.
func asUnsafe(r *http.Request) *http.Request {
	if len(r.Header["Upgrade"]) == 0 {
		return r
	}
	unsafe := *r
	unsafe.Method = http.MethodPost
	return &unsafe
}

// serialized returns an origin as browsers send it (RFC 6454 §6.2): in lower case and without the default port. AddTrustedOrigin
// refuses what is not an origin.
func serialized(origin string) (string, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return "", fmt.Errorf("reading trusted origin %q: %w", origin, err)
	}
	u.Host = strings.ToLower(u.Host)
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.String(), nil
}
