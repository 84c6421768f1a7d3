package check

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// errOrigin is the error for a text that does not look like an origin.
var errOrigin = errors.New("it is not an origin; write scheme://host or scheme://host:port, for example https://app.example.com")

// Origin returns the origin as browsers serialise it (RFC 6454 §6.2): in lower case, without the default port of its scheme.
func Origin(s string) (string, error) {
	switch {
	case s == "null":
		return "", errors.New("null cannot be allowed: it is the origin of every sandboxed frame and local file; write the site's origin, for example https://app.example.com")
	case strings.Contains(s, "*"):
		return "", errors.New("only the first label of the host, or the port, may be *; write for example https://*.preview.example.com or http://localhost:*")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", errOrigin
	}
	if !strings.EqualFold(s, u.Scheme+"://"+u.Host) {
		return "", errors.New("an origin has no path, query or user; write only the scheme, host and port, for example https://app.example.com")
	}
	host := strings.ToLower(u.Host)
	if !isHost(host) {
		return "", errors.New("browsers do not send the host in this form; write international names in their xn-- form and IPv6 addresses in brackets, for example https://xn--bcher-kva.example")
	}
	if port := u.Port(); port != "" && !isPort(port) {
		return "", errPort
	} else if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + strings.TrimSuffix(host, ":"), nil
}

// isHost reports whether host, in lower case and with its port, has the form that browsers send.
func isHost(host string) bool {
	if rest, ok := strings.CutPrefix(host, "["); ok {
		address, _, _ := strings.Cut(rest, "]")
		a, err := netip.ParseAddr(address)
		return err == nil && a.Is6() && a.Zone() == ""
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("-._:", r))
	})
}

// errPort is the error for a port that is out of range.
var errPort = errors.New("the port is not a number from 1 to 65535; write a valid port, for example https://app.example.com:8443")

// isPort reports whether s is the number of a TCP port.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// CORSOrigin refuses a text that cannot be an allowed origin. If alone is true, the list has no other origin.
func CORSOrigin(origin string, alone, credentials bool) error {
	if origin == "*" {
		if credentials || !alone {
			return errors.New("* is only allowed as the single origin and without allowCredentials, because any site could act as the user; list the origins, for example https://app.example.com")
		}
		return nil
	}
	_, err := ParseOriginPattern(origin)
	return err
}

// OriginPattern is a set of origins.
type OriginPattern struct {
	// Origin is the only member if neither AnyLabel nor AnyPort is true.
	Origin string
	// prefix and suffix surround the label that AnyLabel leaves open; prefix is the whole origin without its port otherwise.
	prefix, suffix string
	// AnyLabel says that the first label of the host may be any one label, AnyPort that the port may be any, or none.
	AnyLabel, AnyPort bool
}

// ParseOriginPattern reads an origin whose host may start with the label *, which stands for exactly one label, and whose port may
// be *. At least two labels must follow *, because *.com would allow every site of a registry.
func ParseOriginPattern(s string) (OriginPattern, error) {
	var p OriginPattern
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme == "*" {
		_, err := Origin(s)
		return p, err
	}
	host, anyPort := strings.CutSuffix(rest, ":*")
	parent, anyLabel := strings.CutPrefix(host, "*.")
	if anyLabel && !strings.Contains(strings.Trim(hostname(parent), "."), ".") {
		return p, errors.New("* stands for one label, and at least two labels follow it, because *.com would allow every site; write for example https://*.preview.example.com")
	}
	// What is left must be an origin, so that * is nowhere else.
	origin, err := Origin(scheme + "://" + parent)
	if err != nil {
		return p, err
	}
	if anyLabel && isAddress(hostname(parent)) {
		return p, errors.New("* stands for a label of a host's name, and this is an address; write the origins, for example http://10.0.0.7:8080")
	}
	if !anyLabel && !anyPort {
		return OriginPattern{Origin: origin}, nil
	}
	scheme, host, _ = strings.Cut(origin, "://")
	p = OriginPattern{prefix: scheme + "://", AnyLabel: anyLabel, AnyPort: anyPort}
	if anyLabel {
		p.suffix = "." + host
	} else {
		p.prefix += host
	}
	return p, nil
}

// hostname returns the host without its port.
func hostname(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i]
	}
	return host
}

// isAddress reports whether browsers read host as an address: an IPv6 address, or a name whose last label is a number (the URL
// standard §3.5).
func isAddress(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.HasPrefix(host, "[") || strings.Trim(last, "0123456789") == ""
}

// Has reports whether origin, as a browser sends it, is in the set. It does not allocate.
func (p *OriginPattern) Has(origin string) bool {
	if !p.AnyLabel && !p.AnyPort {
		return origin == p.Origin
	}
	rest, ok := strings.CutPrefix(origin, p.prefix)
	if ok && p.AnyLabel {
		label := 0
		for label < len(rest) && isLabelByte(rest[label]) {
			label++
		}
		rest, ok = strings.CutPrefix(rest[label:], p.suffix)
		ok = ok && label > 0
	}
	if !ok || rest == "" {
		return ok
	}
	return p.AnyPort && rest[0] == ':' && isPort(rest[1:])
}

// isLabelByte reports whether browsers send c in a label of a host.
func isLabelByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// CORSMethod refuses a method that scripts cannot send.
func CORSMethod(method string, credentials bool) error {
	if method == "*" {
		return literalStar(credentials)
	}
	if !IsMethod(method) || slices.Contains([]string{"CONNECT", "TRACE", "TRACK"}, method) {
		return errors.New("it is not a method that scripts can send; write one in capital letters, for example GET or POST (browsers forbid CONNECT, TRACE and TRACK)")
	}
	return nil
}

// CORSHeader refuses a header name that scripts cannot ask for.
func CORSHeader(name string, credentials bool) error {
	if name == "*" {
		return literalStar(credentials)
	}
	return FieldName(name)
}

// literalStar refuses * in responses to requests with credentials (Fetch §3.3.5).
func literalStar(credentials bool) error {
	if credentials {
		return errors.New("with allowCredentials, browsers read * as a literal name (Fetch §3.3.5); list the names, for example X-Request-ID for a header or PUT for a method")
	}
	return nil
}
