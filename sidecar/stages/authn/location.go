package authn

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check"
	"github.com/posterndev/postern/sidecar/httpkit/field"
)

// Location is where a token may be: exactly one of Header and Cookie.
type Location struct {
	Header string
	// Prefix comes before the token, in any case; if it ends with a space, other space and more of it will do (RFC 9110 §11.4).
	// A field with another prefix holds no token.
	Prefix string
	// Cookie is a cookie's name, case-sensitive.
	Cookie string
}

func (l Location) check() error {
	switch {
	case (l.Header == "") == (l.Cookie == ""):
		return errors.New("a location needs either a header or a cookie")
	case l.Cookie != "" && l.Prefix != "":
		return fmt.Errorf("cookie %q has a prefix; prefixes are for headers", l.Cookie)
	case l.Cookie != "":
		return check.CookieName(l.Cookie)
	}
	return check.TokenHeader(l.Header)
}

// place is a header or cookie that any provider takes tokens from.
type place struct {
	header, cookie string
	// prefixes of the header, in lower case, longest first, so that "Bearer " wins over "".
	prefixes []string
}

// addPlaces adds locations, each header and cookie once.
func addPlaces(places []place, locations []Location) []place {
	for _, l := range locations {
		header, prefix := http.CanonicalHeaderKey(l.Header), strings.ToLower(l.Prefix)
		i := slices.IndexFunc(places, func(p place) bool { return p.header == header && p.cookie == l.Cookie })
		if i < 0 {
			i = len(places)
			places = append(places, place{header: header, cookie: l.Cookie})
		}
		if !slices.Contains(places[i].prefixes, prefix) {
			places[i].prefixes = append(places[i].prefixes, prefix)
		}
		slices.SortFunc(places[i].prefixes, func(a, b string) int { return len(b) - len(a) })
	}
	return places
}

// credential is a token and where it was.
type credential struct {
	token                  string
	header, prefix, cookie string
	// alone says that it was in no request.
	alone bool
}

// headersOfPlaces are the fields that hold tokens, in canonical form.
func headersOfPlaces(places []place) []string {
	var names []string
	for _, p := range places {
		if p.header != "" {
			names = append(names, p.header)
		}
	}
	return names
}

// find returns the request's token, or nil; many says that there is more than one, or that a field or cookie that holds
// one is repeated, so that it is unclear which of them counts.
func find(h http.Header, places []place) (found *credential, many bool) {
	for _, p := range places {
		c, twice := p.find(h)
		if twice || c != nil && found != nil {
			return nil, true
		}
		if c != nil {
			found = c
		}
	}
	return found, false
}

func (p place) find(h http.Header) (found *credential, twice bool) {
	if p.cookie != "" {
		value, n := cookie(h, p.cookie)
		if n == 0 || n == 1 && value == "" {
			return nil, false
		}
		return &credential{token: value, cookie: p.cookie}, n > 1
	}
	values := h[p.header]
	if len(values) > 1 {
		return nil, true
	}
	if len(values) == 0 {
		return nil, false
	}
	for _, prefix := range p.prefixes {
		if token, ok := cutPrefix(values[0], prefix); ok && token != "" {
			return &credential{token: token, header: p.header, prefix: prefix}, false
		}
	}
	return nil, false
}

// cutPrefix takes prefix, in lower case, off value, in any case. Where it ends with a space, whatever any app takes for space
// will do as well: apps that split there read a token.
func cutPrefix(value, prefix string) (token string, ok bool) {
	value = field.TrimLeftSpace(value)
	scheme, spaced := strings.CutSuffix(prefix, " ")
	if len(value) < len(prefix) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest := value[len(scheme):]
	if !spaced {
		return rest, true
	}
	token = field.TrimLeftSpace(rest)
	return token, len(token) < len(rest)
}

// cookie returns the value of the cookie and how many there are of that name. It splits at semicolons and no more, as the
// most lenient app does: http.Request.Cookies leaves out what it takes for malformed, which the app might read.
func cookie(h http.Header, name string) (value string, n int) {
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if field.CookieName(pair) == name {
				_, value, _ = strings.Cut(pair, "=")
				value = strings.Trim(value, " \t")
				n++
			}
		}
	}
	return value, n
}

// accepts reports whether the provider takes tokens from c's place.
func (p *provider) accepts(c credential) bool {
	if c.alone {
		return true
	}
	for _, l := range p.From {
		if l.Cookie == c.cookie && http.CanonicalHeaderKey(l.Header) == c.header && strings.EqualFold(l.Prefix, c.prefix) {
			return true
		}
	}
	return false
}

// remove takes the token out of the request: its header, or its cookie and none of the others.
func (c credential) remove(h http.Header) {
	if c.header != "" {
		delete(h, c.header)
		return
	}
	var kept []string
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if pair = strings.Trim(pair, " \t"); pair != "" && field.CookieName(pair) != c.cookie {
				kept = append(kept, pair)
			}
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = []string{strings.Join(kept, "; ")}
}
