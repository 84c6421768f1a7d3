package lifecycle

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/event"
	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// perhapsDone reports whether the app may have got what it needs of the request, although there is no response. That includes requests whose body
// the sidecar refused while the app read it: many apps act as soon as they have a JSON object, whatever follows it. The codes are those of the proxy.
func perhapsDone(err error) bool {
	var e *httperr.Error
	return errors.As(err, &e) && !slices.Contains([]httperr.Code{"app-unreachable", "app-ca-unavailable", "connect-unsupported"}, e.Code)
}

// done reports whether the app has done what the request asks for, and whether that is known. A call of gRPC has the HTTP status 200 and a
// status of its own, in the trailer or in the header; one of gRPC-Web may have it in the body.
func (o *observer) done() (done, known bool) {
	h := o.Header()
	switch {
	case !o.answered:
		return false, false
	case !isGRPC(h):
		return true, true
	}
	for _, name := range []string{"Grpc-Status", http.TrailerPrefix + "Grpc-Status"} {
		if status := h[name]; len(status) == 1 {
			return status[0] == "0", true
		}
	}
	return false, false
}

// isGRPC reports whether a response is one of gRPC or gRPC-Web.
func isGRPC(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "application/grpc")
}

// act sets who acts. The subject of a token that was refused later, such as a revoked one, did not act: only the token is named.
// PerformedBy is the actor of a delegated token (RFC 8693 §4.1).
func (o *observer) act(e *event.Event) {
	id := o.info.Identity
	if id == nil {
		e.Actor = event.Actor{Provider: o.info.Actor.Provider, TokenID: o.info.Actor.TokenID}
		return
	}
	act, _ := id.Claims["act"].(map[string]any)
	if by, _ := act["sub"].(string); by != id.Subject {
		e.PerformedBy = by
	}
}
