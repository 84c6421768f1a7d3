package token

import (
	"context"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

type presentedKey struct{}

// withPresented keeps the refresh token of the request's cookie for later stages of this package.
func withPresented(r *http.Request, refresh string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), presentedKey{}, refresh))
}

// presented is the refresh token that came in the cookie, or empty.
func presented(r *http.Request) string {
	refresh, _ := r.Context().Value(presentedKey{}).(string)
	return refresh
}

// ownSession is the sid of the request's verified access token of ours; empty where it has none.
func ownSession(r *http.Request, issuer string) string {
	id := request.From(r).Identity
	if id == nil || id.Issuer != issuer {
		return ""
	}
	return sidOf(id)
}

func sidOf(id *identity.Identity) string {
	sid, _ := id.Claims["sid"].(string)
	return sid
}
