package check

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// errOrigin is for what is no origin at all.
var errOrigin = errors.New("this is not an origin; write scheme://host or scheme://host:port, as https://app.example.com")

// Origin returns the origin as browsers serialise it (RFC 6454 §6.2): in lower case, without the scheme's own port.
func Origin(s string) (string, error) {
	switch {
	case s == "null":
		return "", errors.New("null is the origin of every sandboxed frame and local file; it cannot be allowed: name the site's origin")
	case strings.Contains(s, "*"):
		return "", errors.New("wildcards within an origin are not supported; list the origins, as https://app.example.com")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Hostname() == "" {
		return "", errOrigin
	}
	if !strings.EqualFold(s, u.Scheme+"://"+u.Host) {
		return "", errors.New("an origin has no path, query or user; leave out all after the host and port, as https://app.example.com")
	}
	host := strings.ToLower(u.Host)
	if !isHost(host) {
		return "", errors.New("the host is not one as browsers send it; write international names in their xn-- form, and IPv6 addresses in brackets")
	}
	if port := u.Port(); port != "" && !isPort(port) {
		return "", errors.New("the port is not a number from 1 to 65535")
	} else if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + strings.TrimSuffix(host, ":"), nil
}

// isHost takes a host in lower case with its port.
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

// isPort reports whether s is a TCP port's number.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

// CORSOrigin refuses what cannot be among a policy's allowed origins; alone says that there is no other.
func CORSOrigin(origin string, alone, credentials bool) error {
	if origin == "*" {
		if credentials || !alone {
			return errors.New("* stands alone, and without allowCredentials: any site could act as the user; list the origins")
		}
		return nil
	}
	_, err := Origin(origin)
	return err
}

// CORSMethod refuses a method that no page can send.
func CORSMethod(method string, credentials bool) error {
	if method == "*" {
		return literalStar(credentials)
	}
	if !IsMethod(method) || slices.Contains([]string{"CONNECT", "TRACE", "TRACK"}, method) {
		return errors.New("write a method in capital letters, as GET or POST; CONNECT, TRACE and TRACK are closed to scripts")
	}
	return nil
}

// CORSHeader refuses a name that no page can ask for.
func CORSHeader(name string, credentials bool) error {
	if name == "*" {
		return literalStar(credentials)
	}
	return FieldName(name)
}

// literalStar: Fetch §3.3.5.
func literalStar(credentials bool) error {
	if credentials {
		return errors.New("with allowCredentials browsers take * literally (Fetch §3.3.5); list the names")
	}
	return nil
}
