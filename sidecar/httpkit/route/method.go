package route

import "fmt"

// maxMethodLen is far beyond every registered method; the longest is UPDATEREDIRECTREF with 17 bytes.
const maxMethodLen = 32

// checkMethod refuses what no request could match: methods are case-sensitive (RFC 9110 §9.1) and the registered ones
// are in capitals.
func checkMethod(method string) error {
	switch {
	case method == "":
		return fmt.Errorf("parsing method: it is empty; leave methods out to match every one")
	case method == "*":
		return fmt.Errorf("parsing method %q: leave methods out to match every one", method)
	case len(method) > maxMethodLen:
		return fmt.Errorf("parsing method %q: it is longer than %d characters", method[:maxMethodLen]+"…", maxMethodLen)
	}
	if !ValidMethod(method) {
		return fmt.Errorf("parsing method %q: write it in capital letters, as GET or POST", method)
	}
	return nil
}

// ValidMethod reports whether method is one that a rule can name: 1 to 32 capital letters and hyphens. Other tokens are
// methods too by RFC 9110, but an app that takes "get" for GET must not see what no rule can match.
func ValidMethod(method string) bool {
	for i := range len(method) {
		if c := method[i]; (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	return method != "" && len(method) <= maxMethodLen
}

// matchMethod counts HEAD as GET: HEAD is GET without the body (RFC 9110 §9.3.2), and a rule for GET that HEAD passes by
// would give the same headers away.
func matchMethod(methods []string, method string) bool {
	for _, m := range methods {
		if m == method || (m == "GET" && method == "HEAD") {
			return true
		}
	}
	return false
}
