package authn

import (
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
	"github.com/posterndev/postern/sidecar/httpkit/field"
)

// Location is where a token may be: exactly one of Header and Cookie.
type Location struct {
	Header string
	// Prefix comes before the token and ignores case. If it ends with a space, any other white space, or more of it, is accepted
	// (RFC 9110 §11.4). A header with another prefix carries no token.
	Prefix string
	// Cookie is a cookie's name, case-sensitive.
	Cookie string
}

// place is a header or cookie from which at least one provider accepts tokens.
type place struct {
	header, cookie string
	// prefixes of the header, in lower case, longest first, so that "Bearer " wins over "".
	prefixes []string
}

// addPlaces adds locations to places. Each header and cookie occurs once.
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
	// alone is true if the token was not part of a request.
	alone bool
}

// headersOfPlaces returns the headers that carry tokens, in canonical form.
func headersOfPlaces(places []place) []string {
	var names []string
	for _, p := range places {
		if p.header != "" {
			names = append(names, p.header)
		}
	}
	return names
}

// closedHeaders returns those headers of places whose value is nothing but a token: forged are those that an app believes a proxy to
// have set, and closed are these and the ones without a prefix.
func closedHeaders(places []place) (closed, forged []string) {
	forwarding := field.NewNames(fieldset.Forwarding()...)
	for _, p := range places {
		switch {
		case p.header == "":
		case forwarding.Has(p.header):
			closed, forged = append(closed, p.header), append(forged, p.header)
		case slices.Contains(p.prefixes, ""):
			closed = append(closed, p.header)
		}
	}
	return closed, forged
}

// find returns the request's token in room, or nil if it has none. many is true if there is more than one token, or if a header or
// cookie that carries tokens is repeated, so that apps may read a different one.
func find(h http.Header, places []place, room *credential) (found *credential, many bool) {
	for i := range places {
		c, ok, twice := places[i].find(h)
		if twice || ok && found != nil {
			return nil, true
		}
		if ok {
			*room, found = c, room
		}
	}
	return found, false
}

// find returns the token in the place, and whether there is one. twice is true if the header or cookie is repeated.
func (p *place) find(h http.Header) (found credential, ok, twice bool) {
	if p.cookie != "" {
		value, n := cookie(h, p.cookie)
		if n == 0 || n == 1 && value == "" {
			return credential{}, false, false
		}
		return credential{token: value, cookie: p.cookie}, true, n > 1
	}
	values := h[p.header]
	if len(values) > 1 {
		return credential{}, false, true
	}
	if len(values) == 0 {
		return credential{}, false, false
	}
	for _, prefix := range p.prefixes {
		if token, ok := cutPrefix(values[0], prefix); ok && token != "" {
			return credential{token: token, header: p.header, prefix: prefix}, true, false
		}
	}
	return credential{}, false, false
}

// cutPrefix removes prefix, which is in lower case, from value, ignoring case. If prefix ends with a space, it accepts
// everything that some app reads as white space, because such an app finds a token after it.
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

// cookie returns the value of the cookie and the number of cookies with that name. It only splits at semicolons, as the most
// lenient app does: http.Request.Cookies omits malformed cookies, which the app might read.
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

// accepts reports whether the provider accepts tokens in the header or cookie of c.
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

// remove removes the token from the request: its header, or its cookie but no other.
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
