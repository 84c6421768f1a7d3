package apikey

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/field"
)

// Location is where a key may be: exactly one of Header, Query and BasicAuth.
type Location struct {
	Header string
	// Prefix comes before the key and ignores case. A header with another prefix has no key.
	Prefix string
	// Query is the name of a parameter, case-sensitive.
	Query string
	// BasicAuth is HTTP Basic authentication (RFC 7617). Its password is the key, or that of a user if there are Users.
	BasicAuth bool
}

// maxBasic bounds the credentials of Basic authentication that are decoded, in bytes. A longer value has no valid key.
const maxBasic = 1024

// place is a header or a parameter. A header with the prefix "basic " has the credentials of Basic authentication.
type place struct {
	header, prefix, query string
	basic                 bool
}

func placesOf(from []Location) []place {
	var out []place
	for _, l := range from {
		p := place{header: http.CanonicalHeaderKey(l.Header), prefix: strings.ToLower(l.Prefix), query: l.Query}
		if l.BasicAuth {
			p = place{header: "Authorization", prefix: "basic ", basic: true}
		}
		out = append(out, p)
	}
	return out
}

// credential is a key, or the name and the password of a user, as it was sent.
type credential struct {
	user, key string
	basic     bool
	malformed bool
}

// find returns the request's key, or nil if it has none. many is true if there are several, equal or not, or a header that carries
// keys is repeated, so that apps may read a different one.
func (a *authenticator) find(r *http.Request) (found *credential, many bool) {
	n := 0
	for _, p := range a.places {
		var all []credential
		if p.query != "" {
			all = inQuery(r.URL.RawQuery, p.query)
		} else {
			all = p.inHeader(r.Header)
		}
		if n += len(all); len(all) > 0 {
			found = &all[0]
		}
	}
	return found, n > 1
}

func (p place) inHeader(h http.Header) []credential {
	var found []credential
	for _, value := range h[p.header] {
		text, ok := cutPrefix(value, p.prefix)
		switch {
		case !ok || text == "" && !p.basic:
		case p.basic:
			found = append(found, parseBasic(text))
		default:
			found = append(found, credential{key: strings.TrimRight(text, " \t")})
		}
	}
	if len(found) > 0 && len(h[p.header]) > 1 && len(found) == 1 {
		found = append(found, found[0]) // an app may read the other line
	}
	return found
}

// cutPrefix removes prefix, which is in lower case, from value. A prefix that ends with a space needs white space, any amount of it
// (RFC 9110 §11.4).
func cutPrefix(value, prefix string) (rest string, ok bool) {
	value = field.TrimLeftSpace(value)
	scheme, spaced := strings.CutSuffix(prefix, " ")
	if len(value) < len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) {
		return "", false
	}
	rest = value[len(scheme):]
	if !spaced {
		return rest, true
	}
	text := field.TrimLeftSpace(rest)
	return text, len(text) < len(rest)
}

// parseBasic returns the name and the password of user-id:password in base64 (RFC 7617 §2).
func parseBasic(text string) credential {
	text = strings.TrimRight(text, " \t")
	if len(text) > maxBasic {
		return credential{basic: true, malformed: true}
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return credential{basic: true, malformed: true}
	}
	user, password, ok := strings.Cut(string(decoded), ":") // without a colon, password is empty
	return credential{user: user, key: password, basic: true, malformed: !ok}
}

// inQuery returns the parameters with the name. Apps separate parameters at & and some at semicolons too.
func inQuery(query, name string) []credential {
	var found []credential
	for part := range strings.FieldsFuncSeq(query, isSeparator) {
		if sent, value, _ := strings.Cut(part, "="); unescape(sent) == name {
			found = append(found, credential{key: unescape(value)})
		}
	}
	return found
}

func isSeparator(r rune) bool { return r == '&' || r == ';' }

// unescape returns text as it is if it is not properly escaped.
func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// removeHeaders removes every key, and every empty or malformed one, from the header.
func (a *authenticator) removeHeaders(h http.Header) {
	for _, p := range a.places {
		if p.header == "" {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(h[p.header]), func(value string) bool {
			_, ok := cutPrefix(value, p.prefix)
			return ok
		})
		if len(kept) == 0 {
			delete(h, p.header)
		} else if len(kept) < len(h[p.header]) {
			h[p.header] = kept
		}
	}
}

// readAs reports whether some app reads the parameter sent as name. A key is read only from the name itself, but an app that trusts what the
// sidecar passes must not see another value by another spelling.
func readAs(sent, name string) bool {
	sent = unescape(sent)
	list, _, _ := strings.Cut(sent, "[")
	return folded(sent) == folded(name) || folded(list) == folded(name)
}

// folded returns a name as the most lenient app reads it: PHP removes spaces before it, ends it at NUL, and reads dots, spaces and an open
// bracket as underscores; ASP.NET ignores case.
func folded(name string) string {
	name, _, _ = strings.Cut(strings.TrimLeft(name, " "), "\x00")
	return strings.ToLower(underscores.Replace(name))
}

var underscores = strings.NewReplacer(".", "_", " ", "_", "[", "_")

// removeQuery removes the parameters that carry keys and their variants, and leaves the other bytes of the query as they are.
func (a *authenticator) removeQuery(r *http.Request) {
	for _, p := range a.places {
		if p.query != "" {
			r.URL.RawQuery = without(r.URL.RawQuery, p.query)
		}
	}
}

func without(query, name string) string {
	var b strings.Builder
	whole := query
	for len(query) > 0 {
		end := strings.IndexFunc(query, isSeparator)
		part, separator, rest := query, "", ""
		if end >= 0 {
			part, separator, rest = query[:end], query[end:end+1], query[end+1:]
		}
		if sent, _, _ := strings.Cut(part, "="); !readAs(sent, name) {
			b.WriteString(part + separator)
		}
		query = rest
	}
	if b.Len() == len(whole) {
		return whole
	}
	return strings.TrimRight(b.String(), "&")
}

// StripCredentials returns a function that removes the keys of requests from their header. A later stage calls it if a key is revoked.
func StripCredentials(from []Location) func(http.Header) {
	a := &authenticator{places: placesOf(from)}
	return a.removeHeaders
}
