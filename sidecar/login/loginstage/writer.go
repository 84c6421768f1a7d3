package loginstage

import (
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"strings"

	"github.com/posterndev/postern/sidecar/httpkit/response"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/login/transport"
)

// maxAppBody bounds the app's JSON that is merged with the tokens, in bytes.
const maxAppBody = 64 << 10

// loginResponse is what becomes of the app's response.
type loginResponse struct {
	login          func() (token.Tokens, bool, error)
	tokenTransport *transport.TokenTransport
	// ignore reports that the app's fields have no effect.
	ignore func(reason string)

	// replaced says that tokens take the response's place.
	replaced bool
	tokens   token.Tokens
}

// decide logs in where the app says so, with a round trip to the session store.
func (x *loginResponse) decide(status int, h http.Header) response.Action {
	if reason := x.reasonToIgnore(status); reason != "" {
		x.ignore(reason)
		return response.Action{}
	}
	tokens, ok, err := x.login()
	switch {
	case err != nil:
		return response.Action{Err: err}
	case !ok:
		return response.Action{}
	case x.tokenTransport.Delivery() != transport.Body:
		x.tokenTransport.SetCookies(h, tokens)
		return response.Action{}
	}
	x.replaced, x.tokens = true, tokens
	action := response.Action{Replace: x.replace}
	if isJSON(h) {
		action.Keep = maxAppBody
	}
	dropBodyFields(h)
	return action
}

// reasonToIgnore returns why a response with this status logs nobody in; empty for one that can.
func (x *loginResponse) reasonToIgnore(status int) string {
	switch {
	case status >= 200 && status <= 299:
		return ""
	case status != http.StatusFound && status != http.StatusSeeOther:
		return ignoredStatus
	case x.tokenTransport.Delivery() != transport.Cookie: // a redirect has no body for the tokens
		return ignoredDelivery
	default:
		return ""
	}
}

// replace writes the tokens, with the members of the app's own JSON.
func (x *loginResponse) replace(w http.ResponseWriter, body []byte, whole bool) error {
	all := map[string]any{}
	var members map[string]json.RawMessage
	if whole && json.Unmarshal(body, &members) == nil {
		for name, value := range members {
			all[name] = value
		}
	}
	maps.Copy(all, transport.TokenResponse(x.tokens))
	return transport.WriteJSON(w, http.StatusOK, all)
}

// isJSON reports whether the body is JSON without a content encoding.
func isJSON(h http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && h.Get("Content-Encoding") == "" && (mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"))
}

// dropBodyFields removes the fields that describe the app's body (RFC 9110 §8), which is replaced.
func dropBodyFields(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Content-") && !strings.HasPrefix(name, "Content-Security-Policy") {
			delete(h, name)
		}
	}
	for _, name := range []string{"Etag", "Last-Modified", "Accept-Ranges", "Trailer", "Digest", "Repr-Digest", "Expires"} {
		delete(h, name)
	}
}
