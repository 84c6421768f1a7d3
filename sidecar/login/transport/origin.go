package transport

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/posterndev/postern/api/check"
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
	if err == nil || c.trusts(r) {
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
	return c.protection.Check(&unsafe) == nil || c.trusts(r)
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

// trustOrigins adds the origins, in which a * stands for one label of the host or for every port, to those that are trusted.
func (c *TokenTransport) trustOrigins(origins []string) error {
	for _, origin := range origins {
		pattern, err := check.ParseOriginPattern(origin)
		switch {
		case err != nil:
		case pattern.AnyLabel || pattern.AnyPort:
			c.trusted = append(c.trusted, pattern)
		default:
			err = c.protection.AddTrustedOrigin(pattern.Origin)
		}
		if err != nil {
			return fmt.Errorf("reading trusted origin %q: %w", origin, err)
		}
	}
	return nil
}

// trusts reports whether a pattern of trusted origins has the request's origin.
func (c *TokenTransport) trusts(r *http.Request) bool {
	origins := r.Header["Origin"]
	return len(origins) == 1 && slices.ContainsFunc(c.trusted, func(p check.OriginPattern) bool { return p.Has(origins[0]) })
}
