package check

import (
	"errors"
	"fmt"
	"slices"
)

// maxMethodLen is the maximum length of a method, in bytes. The longest registered method is UPDATEREDIRECTREF, with 17 bytes.
const maxMethodLen = 32

// Method refuses a method that no request can have. Methods are case-sensitive (RFC 9110 §9.1), and the registered ones are in
// capital letters.
func Method(method string) error {
	switch {
	case method == "":
		return errors.New("the method is empty; write one, for example GET, or leave methods out to match every method")
	case method == "*":
		return errors.New("* is not a method; leave methods out to match every method")
	case len(method) > maxMethodLen:
		return fmt.Errorf("the method %q is longer than %d characters; write a registered method, for example GET or POST", method[:maxMethodLen]+"…", maxMethodLen)
	case !IsMethod(method):
		return fmt.Errorf("%q is not a method; write one method in capital letters, for example GET or POST", method)
	}
	return nil
}

// IsMethod reports whether a rule can name method: 1 to 32 capital letters and hyphens. RFC 9110 allows any token as a method,
// but an app may read "get" as GET, and it must not receive a method that no rule can match.
func IsMethod(method string) bool {
	for i := range len(method) {
		if c := method[i]; (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return method != "" && len(method) <= maxMethodLen
}

// UnknownMethod says what is wrong with a valid method that probably no request has: one that is not registered, or one that every
// sidecar refuses. It returns "" for the others. Apps may use methods of their own, so this is no error.
func UnknownMethod(method string) string {
	switch method {
	case "CONNECT", "TRACE":
		return "the sidecar refuses every " + method + " request before its rules: leave it out"
	}
	if !IsMethod(method) || slices.Contains(registeredMethods[:], method) {
		return ""
	}
	return fmt.Sprintf("%q is not a registered method, so probably no request has it: write GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS, unless the app "+
		"has a method of this name", method)
}

// registeredMethods are those of the HTTP Method Registry (RFC 9110 §16.1) except PRI, which no client may send, and PURGE, which caches use.
var registeredMethods = [...]string{
	"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "COPY", "DELETE", "GET", "HEAD", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY",
	"MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE",
	"PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
}
