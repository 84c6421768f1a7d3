package check

import (
	"errors"
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// maxFieldName bounds a field's name, in bytes.
const maxFieldName = 256

// IsToken reports whether s is a token (RFC 9110 §5.6.2), as names of fields and methods are.
func IsToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// FieldName refuses what is not the name of a header field.
func FieldName(name string) error {
	switch {
	case len(name) > maxFieldName:
		return fmt.Errorf("the name is longer than %d bytes", maxFieldName)
	case !IsToken(name) || strings.Contains(name, "*"):
		return fmt.Errorf("%q is not a field name (RFC 9110 §5.1); write one as X-Request-ID", name)
	}
	return nil
}

// ResponseFieldName refuses names of response fields that frame the response or are kept right by another stage.
func ResponseFieldName(name string) error {
	if err := FieldName(name); err != nil {
		return err
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	reason := ""
	switch canonical {
	case "Connection", "Keep-Alive", "Upgrade":
		reason = "it belongs to the connection"
	case "Transfer-Encoding", "Content-Length", "Trailer", "Date":
		reason = "it belongs to the protocol"
	case "Content-Encoding", "Content-Range", "Content-Type":
		reason = "it says what the body is"
	case "Vary":
		reason = "caches would mix up responses"
	case "Set-Cookie":
		reason = "it belongs to the app"
	default:
		if strings.HasPrefix(canonical, "Access-Control-") {
			reason = "the policy's cors section governs it"
		}
	}
	if reason != "" {
		return fmt.Errorf("%s can be neither set nor removed: %s; leave it out", canonical, reason)
	}
	return nil
}

// ResponseFieldValue refuses what cannot be a field's value (RFC 9110 §5.5).
func ResponseFieldValue(value string) error {
	switch {
	case value == "":
		return errors.New("the value is empty; remove the header instead")
	case value != strings.Trim(value, " \t"):
		return fmt.Errorf("the value has space around it; write %q", strings.Trim(value, " \t"))
	}
	for i := range len(value) {
		if c := value[i]; (c < ' ' && c != '\t') || c == 0x7f {
			return errors.New("the value holds a control character; remove it")
		}
	}
	return nil
}

// reservedRequestFields have a meaning of their own to HTTP, or to proxies.
func reservedRequestFields() []string {
	return []string{
		"Authorization", "Connection", "Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Expect", "Host",
		"Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via",
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip",
	}
}

// IdentityFieldName refuses names of request fields that cannot carry a claim to the app.
func IdentityFieldName(name string) error {
	if err := FieldName(name); err != nil {
		return err
	}
	if slices.Contains(reservedRequestFields(), textproto.CanonicalMIMEHeaderKey(name)) {
		return fmt.Errorf("%s cannot carry a claim: it has a meaning of its own in HTTP; choose another, as X-Auth-Subject", name)
	}
	return nil
}

// TokenHeader refuses names of request fields that hold no token.
func TokenHeader(name string) error {
	if strings.EqualFold(name, "Cookie") {
		return errors.New("the header Cookie holds no token; name the cookie instead")
	}
	return FieldName(name)
}

// CookieName refuses what is not the name of a cookie.
func CookieName(name string) error {
	if !IsToken(name) {
		return fmt.Errorf("%q is not the name of a cookie; write letters, digits and hyphens", name)
	}
	return nil
}
