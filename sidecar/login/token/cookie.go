package token

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// The cookies. __Host- makes browsers refuse them from other hosts of the site, without Secure, or with another path
// (RFC 6265bis §4.1.3.2), so both come with every request; the Guard takes the refresh token out of each.
const (
	AccessCookie  = "__Host-postern-access"
	RefreshCookie = "__Host-postern-refresh"
)

// Delivery is how clients get their tokens.
type Delivery string

// Body answers with JSON (RFC 6749 §5.1), Cookie sets cookies that scripts cannot read.
const (
	Body   Delivery = "Body"
	Cookie Delivery = "Cookie"
)

// SameSite is the cookies' attribute. Lax sends them when another site links to this one, Strict does not.
type SameSite string

// The values; None is not among them.
const (
	Lax    SameSite = "Lax"
	Strict SameSite = "Strict"
)

// TokenTransportConfig says how clients get their tokens.
type TokenTransportConfig struct {
	Delivery Delivery
	// SameSite is Lax where empty.
	SameSite SameSite
	// TrustedOrigins are further origins ("https://app.example.com") whose pages may send unsafe requests with our cookies
	// and log people in, as those that CORS allows with credentials.
	TrustedOrigins []string
	// Now is time.Now where nil.
	Now func() time.Time
}

// TokenTransport hands tokens to clients, and takes them back. It is safe for concurrent use.
type TokenTransport struct {
	delivery   Delivery
	sameSite   http.SameSite
	protection *http.CrossOriginProtection
	now        func() time.Time
}

// NewTokenTransport returns a TokenTransport, or an error that says which setting to change.
func NewTokenTransport(cfg TokenTransportConfig) (*TokenTransport, error) {
	if cfg.Delivery != Body && cfg.Delivery != Cookie {
		return nil, errors.New("building token delivery: it is neither Body nor Cookie")
	}
	c := &TokenTransport{delivery: cfg.Delivery, sameSite: http.SameSiteLaxMode, protection: http.NewCrossOriginProtection(), now: cfg.Now}
	switch cfg.SameSite {
	case Lax, "":
	case Strict:
		c.sameSite = http.SameSiteStrictMode
	default:
		return nil, errors.New("building token delivery: sameSite is neither Lax nor Strict")
	}
	for _, origin := range cfg.TrustedOrigins {
		origin, err := check.Origin(origin)
		if err == nil {
			err = c.protection.AddTrustedOrigin(origin)
		}
		if err != nil {
			return nil, fmt.Errorf("building token delivery: %w", err)
		}
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// setCookies hands t over. The cookies live as long as what they hold.
func (c *TokenTransport) setCookies(h http.Header, t Tokens) {
	noStore(h)
	c.set(h, AccessCookie, t.Token, t.Expires)
	c.set(h, RefreshCookie, string(t.Refresh.Reveal()), t.Session.AbsoluteExpiry)
}

func (c *TokenTransport) set(h http.Header, name, value string, expires time.Time) {
	maxAge := seconds(expires.Sub(c.now()))
	if maxAge <= 0 {
		maxAge = -1
	}
	cookie := &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(maxAge), Secure: true, HttpOnly: true, SameSite: c.sameSite}
	h.Add("Set-Cookie", cookie.String())
}

// clearCookies makes the browser forget; with delivery Body there is nothing to forget.
func (c *TokenTransport) clearCookies(h http.Header) {
	if c.delivery != Cookie {
		return
	}
	c.set(h, AccessCookie, "", time.Time{})
	c.set(h, RefreshCookie, "", time.Time{})
}

// Guard returns the stage for requests that carry our cookies; nil where tokens are delivered in bodies. It must come
// before authentication. For each request it:
//   - takes the refresh token out of the request, so that it never reaches the app or its logs; the exchange and the
//     endpoints, later, still have it. A request with two is refused with 400;
//   - refuses unsafe methods and WebSocket handshakes that come from another origin with 403 cross-origin, where a browser
//     added one of our cookies by itself (CSRF, cross-site WebSocket hijacking). Sec-Fetch-Site decides, or Origin against
//     Host where it is missing; a request with neither is no browser's (net/http.CrossOriginProtection says why).
//
// Both are subject to Shadow. The exchange refuses in the same way logins from another origin, cookies or not.
func (c *TokenTransport) Guard() stage.Stage {
	if c.delivery != Cookie {
		return nil
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			refresh, hasRefresh, twice := takeCookie(r.Header, RefreshCookie)
			if twice {
				refresh = ""
				refusal := &httperr.Error{Status: http.StatusBadRequest, Code: "invalid-request", Detail: "The request has more than one refresh token."}
				if err := request.From(r).Refuse(csrfRule(), refusal); err != nil {
					return err
				}
			}
			if _, hasAccess := findCookie(r.Header, AccessCookie); hasRefresh || hasAccess {
				if err := c.checkOrigin(r); err != nil {
					return err
				}
			}
			if refresh != "" {
				r = withPresented(r, refresh)
			}
			return next.ServeHTTP(w, r)
		})
	}
}

func csrfRule() request.Rule { return request.Rule{Stage: "token", Name: "csrf"} }

// checkOrigin refuses what a page of another origin made a browser send; with delivery Body browsers send nothing of ours by
// themselves.
func (c *TokenTransport) checkOrigin(r *http.Request) error {
	if c.delivery != Cookie {
		return nil
	}
	return c.refuseCrossOrigin(r)
}

func (c *TokenTransport) refuseCrossOrigin(r *http.Request) error {
	err := c.protection.Check(asUnsafe(r))
	if err == nil {
		return nil
	}
	return request.From(r).Refuse(csrfRule(), &httperr.Error{
		Status: http.StatusForbidden, Code: "cross-origin", Cause: err,
		Detail: "Requests that change something are not accepted from other origins with this site's cookies.",
	})
}

// asUnsafe returns r, or for a WebSocket handshake, which is a GET, a request that is judged as a POST.
func asUnsafe(r *http.Request) *http.Request {
	if len(r.Header["Upgrade"]) == 0 {
		return r
	}
	unsafe := *r
	unsafe.Method = http.MethodPost
	return &unsafe
}

// takeCookie removes every cookie of the name and returns the value of the first.
func takeCookie(h http.Header, name string) (value string, found, twice bool) {
	value, found = findCookie(h, name)
	if !found {
		return "", false, false
	}
	var kept []string
	n := 0
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			switch {
			case field.CookieName(pair) == name:
				n++
			case pair != "":
				kept = append(kept, pair)
			}
		}
	}
	delete(h, "Cookie")
	if len(kept) > 0 {
		h["Cookie"] = []string{strings.Join(kept, "; ")}
	}
	return value, true, n > 1
}

// findCookie finds the first cookie of the name. It splits at semicolons and no more, as the most lenient app does.
func findCookie(h http.Header, name string) (value string, found bool) {
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if field.CookieName(pair) == name {
				_, value, _ = strings.Cut(pair, "=")
				return strings.Trim(value, " \t"), true
			}
		}
	}
	return "", false
}
