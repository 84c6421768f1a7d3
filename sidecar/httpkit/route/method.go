package route

// matchMethod reports whether method is in methods. GET in a rule also matches HEAD, which is GET without the body (RFC 9110
// §9.3.2): otherwise HEAD would bypass the rule and reveal the same headers.
func matchMethod(methods []string, method string) bool {
	for _, m := range methods {
		if m == method || (m == "GET" && method == "HEAD") {
			return true
		}
	}
	return false
}
