package check

import (
	"errors"
	"fmt"
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
