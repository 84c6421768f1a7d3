// Package transport carries tokens between the sidecar and clients: in JSON bodies (RFC 6749) or in cookies, which it protects
// against requests from other origins. It holds what the HTTP fronts loginstage and endpoints share.
package transport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/field"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
)

// The names of the cookies, to which TokenTransportConfig.Owner adds a suffix. The prefix __Host- makes browsers reject them from
// other hosts of the site, without Secure, or with another path (RFC 6265bis §4.1.3.2). Browsers send both with every request; Guard
// removes the refresh token from each.
const (
	AccessCookie  = reservedCookies + "access"
	RefreshCookie = reservedCookies + "refresh"
)

// reservedCookies begins the names of the cookies of all policies.
const reservedCookies = "__Host-postern-"

// Delivery is how clients receive their tokens.
type Delivery string

// Body responds with JSON (RFC 6749 §5.1). Cookie sets cookies that scripts cannot read.
const (
	Body   Delivery = "Body"
	Cookie Delivery = "Cookie"
)

// SameSite is the attribute of the cookies. With Lax the browser sends them when the user follows a link from another site, with
// Strict it does not.
type SameSite string

// The values of SameSite. None is not supported.
const (
	Lax    SameSite = "Lax"
	Strict SameSite = "Strict"
)

// TokenTransportConfig configures a TokenTransport.
type TokenTransportConfig struct {
	Delivery Delivery
	// SameSite defaults to Lax.
	SameSite SameSite
	// TrustedOrigins are further origins ("https://app.example.com") whose pages may send unsafe requests with the cookies and
	// log users in, such as those that CORS allows with credentials.
	TrustedOrigins []string
	// Owner names the policy among all that may serve the same host: the names of the cookies end in a digest of it. The path of a
	// __Host- cookie is always /, so policies with the same names would replace and delete the cookies of each other.
	Owner string
	// Read are cookies that later stages read: Guard leaves them in the request, also if they belong to another policy.
	Read []string
	// Now defaults to time.Now.
	Now func() time.Time
}

// TokenTransport delivers tokens to clients and reads them from requests. It is safe for concurrent use.
type TokenTransport struct {
	delivery   Delivery
	sameSite   http.SameSite
	protection *http.CrossOriginProtection
	trusted    []check.OriginPattern
	now        func() time.Time
	// access and refresh are the names of the cookies.
	access, refresh string
	read            []string
}

// NewTokenTransport returns a TokenTransport. Its error says which setting to change.
func NewTokenTransport(cfg TokenTransportConfig) (*TokenTransport, error) {
	if cfg.Delivery != Body && cfg.Delivery != Cookie {
		return nil, errors.New("building token transport: delivery must be Body or Cookie")
	}
	c := &TokenTransport{delivery: cfg.Delivery, sameSite: http.SameSiteLaxMode, protection: http.NewCrossOriginProtection(), now: cfg.Now, read: cfg.Read}
	c.access, c.refresh = CookieNames(cfg.Owner)
	switch cfg.SameSite {
	case Lax, "":
	case Strict:
		c.sameSite = http.SameSiteStrictMode
	default:
		return nil, errors.New("building token transport: sameSite must be Lax or Strict")
	}
	if err := c.trustOrigins(cfg.TrustedOrigins); err != nil {
		return nil, fmt.Errorf("building token transport: %w", err)
	}
	if c.now == nil {
		c.now = time.Now
	}
	return c, nil
}

// ownerBytes is how much of the digest of an owner is in a cookie's name, in bytes.
const ownerBytes = 4

// CookieNames returns the names of the cookies of an owner.
func CookieNames(owner string) (access, refresh string) {
	if owner == "" {
		return AccessCookie, RefreshCookie
	}
	digest := sha256.Sum256([]byte(owner))
	suffix := "-" + hex.EncodeToString(digest[:ownerBytes])
	return AccessCookie + suffix, RefreshCookie + suffix
}

// Delivery returns how clients receive their tokens.
func (c *TokenTransport) Delivery() Delivery { return c.delivery }

// SetCookies adds the cookies for t to h. A cookie expires with its token, the refresh cookie with the session.
func (c *TokenTransport) SetCookies(h http.Header, t token.Tokens) {
	NoStore(h)
	c.set(h, c.access, t.Token, t.Expires)
	c.set(h, c.refresh, string(t.Refresh.Reveal()), t.Session.AbsoluteExpiry)
}

func (c *TokenTransport) set(h http.Header, name, value string, expires time.Time) {
	maxAge := Seconds(expires.Sub(c.now()))
	if maxAge <= 0 {
		maxAge = -1
	}
	cookie := &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(maxAge), Secure: true, HttpOnly: true, SameSite: c.sameSite}
	// One field for each name: a request can be renewed and then log out, and browsers differ in which of two they keep.
	others := slices.DeleteFunc(h["Set-Cookie"], func(line string) bool { return strings.HasPrefix(line, name+"=") })
	h["Set-Cookie"] = append(others, cookie.String())
}

// ClearCookies makes the browser delete the cookies. With delivery Body it does nothing.
func (c *TokenTransport) ClearCookies(h http.Header) {
	if c.delivery != Cookie {
		return
	}
	c.set(h, c.access, "", time.Time{})
	c.set(h, c.refresh, "", time.Time{})
}

// Guard returns the stage for requests with the cookies; nil with delivery Body. It must come before authentication. For each
// request it:
//   - removes the refresh token, so that it never reaches the app or its logs. RefreshToken returns it to later stages. A request
//     with two is refused with 400;
//   - removes the cookies of other policies from the request, unless a later stage reads them. The browser keeps them;
//   - makes the browser delete a cookie of its own that cannot be a token, because browsers would send it for as long as it lives;
//   - refuses, with 403 cross-origin, unsafe methods and WebSocket handshakes from another origin that carry one of the cookies
//     (CSRF, cross-site WebSocket hijacking). Sec-Fetch-Site decides. If it is absent, Origin is compared with Host. A request
//     with neither does not come from a browser (see net/http.CrossOriginProtection).
//
// The refusals are subject to shadow mode. The login stage refuses logins from another origin in the same way, with or without cookies.
func (c *TokenTransport) Guard() stage.Stage {
	if c.delivery != Cookie {
		return nil
	}
	return func(next stage.Handler) stage.Handler {
		return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
			refresh, hasRefresh, twice := takeCookie(r.Header, c.refresh)
			c.dropForeign(r.Header)
			next := c.clearMalformed(w, r, next, refresh, hasRefresh)
			if twice {
				refresh = ""
				refusal := &httperr.Error{Status: http.StatusBadRequest, Code: "invalid-request", Detail: "The request has more than one refresh token."}
				if err := request.From(r).Refuse(csrfRule(), refusal); err != nil {
					return err
				}
			}
			if _, hasAccess := findCookie(r.Header, c.access); hasRefresh || hasAccess {
				if err := c.CheckOrigin(r); err != nil {
					return err
				}
			}
			if refresh != "" {
				r = r.WithContext(context.WithValue(r.Context(), refreshTokenKey{}, refresh))
			}
			return next.ServeHTTP(w, r)
		})
	}
}

type refreshTokenKey struct{}

// RefreshToken returns the refresh token that Guard removed from the request; empty if there was none.
func RefreshToken(r *http.Request) string {
	refresh, _ := r.Context().Value(refreshTokenKey{}).(string)
	return refresh
}

// Device returns the device that the request describes.
func Device(r *http.Request) session.Device {
	return session.NewDevice(r.UserAgent(), request.From(r).ClientAddr)
}

// AccessToken returns the value of the access cookie; n is the number of such cookies.
func (c *TokenTransport) AccessToken(h http.Header) (value string, n int) {
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if field.CookieName(pair) != c.access {
				continue
			}
			if n++; n == 1 {
				_, value, _ = strings.Cut(pair, "=")
				value = strings.Trim(value, " \t")
			}
		}
	}
	return value, n
}

// ReplaceAccessToken replaces the access cookie of a request; an empty token removes it.
func (c *TokenTransport) ReplaceAccessToken(h http.Header, token string) {
	_, _, _ = takeCookie(h, c.access)
	if token == "" {
		return
	}
	pair := c.access + "=" + token
	if others := h["Cookie"]; len(others) > 0 {
		pair = strings.Join(others, "; ") + "; " + pair
	}
	h["Cookie"] = []string{pair}
}

// takeCookie removes every cookie of the name and returns the value of the first.
func takeCookie(h http.Header, name string) (value string, found, twice bool) {
	value, found = findCookie(h, name)
	if !found {
		return "", false, false
	}
	n := dropCookies(h, func(other string) bool { return other == name })
	return value, true, n > 1
}

// dropForeign removes the cookies of other policies of the same host, whose apps may not have each other's tokens.
func (c *TokenTransport) dropForeign(h http.Header) {
	foreign := func(name string) bool {
		return strings.HasPrefix(name, reservedCookies) && name != c.access && !slices.Contains(c.read, name)
	}
	if slices.ContainsFunc(h["Cookie"], func(line string) bool { return strings.Contains(line, reservedCookies) }) {
		dropCookies(h, foreign)
	}
}

// dropCookies removes the cookies whose names match and returns their number.
func dropCookies(h http.Header, match func(name string) bool) (n int) {
	var others []string
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.Trim(pair, " \t")
			switch {
			case match(field.CookieName(pair)):
				n++
			case pair != "":
				others = append(others, pair)
			}
		}
	}
	if n == 0 {
		return 0
	}
	delete(h, "Cookie")
	if len(others) > 0 {
		h["Cookie"] = []string{strings.Join(others, "; ")}
	}
	return n
}

// findCookie returns the first cookie of the name. It splits at semicolons only, as the most lenient app does.
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
