package check

import (
	"errors"
	"fmt"
	"strings"

	"github.com/posterndev/postern/api/check/fieldset"
)

// maxRequestField is the maximum length, in bytes, of a request header that carries a token or a claim.
const maxRequestField = 64

// The request headers that have a meaning of their own, and those in which an authenticating proxy names the user or sends a token.
var (
	hopByHop      = fieldset.New(fieldset.HopByHop()...)
	sidecarsOwn   = fieldset.New("Postern-*", "X-Postern-*")
	inHTTP        = fieldset.New(append(fieldset.HTTP(), "Cookie")...)
	overriding    = fieldset.New(fieldset.Overriding()...)
	client        = fieldset.New(fieldset.Client()...)
	forwarding    = fieldset.New(fieldset.Forwarding()...)
	proxyIdentity = fieldset.New(fieldset.ProxyIdentity()...)
	webSocket     = fieldset.New("Sec-WebSocket-Protocol")
	authorization = fieldset.New("Authorization")
)

// meaning returns why a request header can carry neither a token nor a claim; empty if it can.
func meaning(name string) string {
	switch {
	case hopByHop.Has(name):
		return "it belongs to one connection (RFC 9110 §7.6.1)"
	case sidecarsOwn.Has(name):
		return "only the sidecar sets it"
	case inHTTP.Has(name):
		return "it has a defined meaning in HTTP"
	case overriding.Has(name):
		return "some servers and frameworks replace the path, the method or another part of the request by it"
	case client.Has(name):
		return "proxies describe the client's connection in it"
	}
	return ""
}

// requestField refuses a name that apps and proxies may read in different ways: CGI and WSGI make one variable of X-User and X_User.
func requestField(name string) error {
	if err := FieldName(name); err != nil {
		return err
	}
	if len(name) > maxRequestField {
		return fmt.Errorf("the header name is longer than %d bytes; write a shorter one, for example X-Auth-Subject", maxRequestField)
	}
	for i := range len(name) {
		if c := name[i] | 0x20; ('a' > c || c > 'z') && (name[i] < '0' || name[i] > '9') && name[i] != '-' {
			return fmt.Errorf("%q has a character that some apps read as a hyphen; write letters, digits and hyphens, for example %s", name, hyphened(name))
		}
	}
	return nil
}

// hyphened returns the name with hyphens in place of all characters except letters and digits.
func hyphened(name string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, name)
}

// IdentityFieldName refuses the names of request headers that cannot carry a claim to the app. Headers in which an authenticating
// proxy names the user can.
func IdentityFieldName(name string) error {
	if err := requestField(name); err != nil {
		return err
	}
	why := meaning(name)
	switch {
	case why != "":
	case authorization.Has(name):
		why = "it carries credentials"
	case forwarding.Has(name) && !proxyIdentity.Has(name):
		why = "proxies describe the client's connection in it"
	default:
		return nil
	}
	return fmt.Errorf("%s cannot carry a claim: %s; choose another header, for example X-Auth-Subject", name, why)
}

// TokenHeader refuses the names of request headers that cannot carry a token.
func TokenHeader(name string) error {
	if strings.EqualFold(name, "Cookie") {
		return errors.New("a token cannot be read from the Cookie header as a whole; name the cookie instead, for example cookie: access_token")
	}
	if err := requestField(name); err != nil {
		return err
	}
	if why := meaning(name); why != "" && !webSocket.Has(name) {
		return fmt.Errorf("%s cannot carry a token: %s; let clients send it in another header, for example Authorization", name, why)
	}
	return nil
}
