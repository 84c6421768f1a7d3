package check

import (
	"errors"
	"fmt"
	"net/textproto"
	"strings"
)

// maxFieldName is the maximum length of a header name, in bytes.
const maxFieldName = 256

// IsToken reports whether s is a token (RFC 9110 §5.6.2). Header names and methods are tokens.
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

// FieldName refuses a text that is not the name of a header.
func FieldName(name string) error {
	switch {
	case len(name) > maxFieldName:
		return fmt.Errorf("the header name is longer than %d bytes; write a shorter one, for example X-Request-ID", maxFieldName)
	case !IsToken(name) || strings.Contains(name, "*"):
		return fmt.Errorf("%q is not a header name (RFC 9110 §5.1); write letters, digits and hyphens, for example X-Request-ID", name)
	}
	return nil
}

// ResponseFieldName refuses the names of response headers that frame the response, or that another stage manages.
func ResponseFieldName(name string) error {
	if err := FieldName(name); err != nil {
		return err
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	reason := ""
	switch canonical {
	case "Connection", "Keep-Alive", "Upgrade":
		reason = "it is specific to the connection"
	case "Transfer-Encoding", "Content-Length", "Trailer", "Date":
		reason = "HTTP itself sets it"
	case "Content-Encoding", "Content-Range", "Content-Type":
		reason = "it describes the body, which the app writes"
	case "Vary":
		reason = "caches would mix up the responses to different requests"
	case "Set-Cookie":
		reason = "the app sets its own cookies"
	default:
		if strings.HasPrefix(canonical, "Access-Control-") {
			reason = "the policy's cors section sets it"
		}
	}
	if reason != "" {
		return fmt.Errorf("%s can neither be set nor removed: %s; leave it out", canonical, reason)
	}
	return nil
}

// ResponseFieldValue refuses a text that cannot be the value of a header (RFC 9110 §5.5).
func ResponseFieldValue(value string) error {
	switch {
	case value == "":
		return errors.New("the value is empty; write a value, or add the header to remove instead")
	case value != strings.Trim(value, " \t"):
		return fmt.Errorf("the value starts or ends with a space; write %q", strings.Trim(value, " \t"))
	}
	for i := range len(value) {
		if c := value[i]; (c < ' ' && c != '\t') || c == 0x7f {
			return errors.New("the value contains a control character; remove it")
		}
	}
	return nil
}

// CookieName refuses a text that is not the name of a cookie.
func CookieName(name string) error {
	if !IsToken(name) {
		return fmt.Errorf("%q is not the name of a cookie; write letters, digits, hyphens and underscores, for example access_token", name)
	}
	return nil
}
