package route

// matchMethod counts HEAD as GET: HEAD is GET without the body (RFC 9110 §9.3.2), and a rule for GET that HEAD bypasses
// would give the same headers away.
func matchMethod(methods []string, method string) bool {
	for _, m := range methods {
		if m == method || (m == "GET" && method == "HEAD") {
			return true
		}
	}
	return false
}
