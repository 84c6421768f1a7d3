package check

import (
	"errors"
	"fmt"
)

// maxMethodLen is far beyond every registered method; the longest is UPDATEREDIRECTREF with 17 bytes.
const maxMethodLen = 32

// Method refuses what no request could match: methods are case-sensitive (RFC 9110 §9.1) and the registered ones are in
// capitals.
func Method(method string) error {
	switch {
	case method == "":
		return errors.New("the method is empty; leave methods out to match every one")
	case method == "*":
		return errors.New("* is not a method; leave methods out to match every one")
	case len(method) > maxMethodLen:
		return fmt.Errorf("the method %q is longer than %d characters; write one as GET or POST", method[:maxMethodLen]+"…", maxMethodLen)
	case !IsMethod(method):
		return fmt.Errorf("%q is not a method; write it in capital letters, as GET or POST", method)
	}
	return nil
}

// IsMethod reports whether method is one that a rule can name: 1 to 32 capital letters and hyphens. Other tokens are methods
// too by RFC 9110, but an app that takes "get" for GET must not see what no rule can match.
func IsMethod(method string) bool {
	for i := range len(method) {
		if c := method[i]; (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return method != "" && len(method) <= maxMethodLen
}
