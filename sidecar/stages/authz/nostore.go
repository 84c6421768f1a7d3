package authz

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// noStore keeps a response out of caches if the app says nothing about caching: otherwise a browser may store it heuristically (RFC
// 9111 §4.2.2), and shows it by its Back button after the user has logged out. A 304 is not changed, because its fields would replace
// those of the stored response (RFC 9111 §4.3.4), for which the app has decided.
func noStore(next stage.Handler) stage.Handler {
	lines := []string{"no-store"}
	return response.Decorate(func(_ *http.Request, status int, h http.Header) {
		if status != http.StatusNotModified && len(h["Cache-Control"]) == 0 && len(h["Expires"]) == 0 && len(h["Pragma"]) == 0 {
			h["Cache-Control"] = lines[:1:1]
		}
	})(next)
}
