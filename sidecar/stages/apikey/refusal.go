package apikey

import (
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// Reason is why a key gave no identity: the label of the metric.
type Reason string

// The reasons. Clients are told only whether a key is expired, which only its holder can ask.
const (
	Malformed    Reason = "api_key_malformed"
	Unknown      Reason = "api_key_unknown"
	Expired      Reason = "api_key_expired"
	Unavailable  Reason = "unavailable"
	ClaimHeaders Reason = "claim_format"
	// Those of users. A name that is not in the file and a wrong password have the same reason.
	MalformedUser    Reason = "basic_malformed"
	WrongUser        Reason = "basic_wrong"
	UsersUnavailable Reason = "users_unavailable"
	Busy             Reason = "busy"
)

// retryAfter is the value of Retry-After while there is no key file, in seconds.
const retryAfter = "5"

// Challenges returns the values of WWW-Authenticate by which a 401 asks for a key (RFC 9110 §11.6.1): one for each scheme. No scheme is
// registered for a key in a header or in the query; ApiKey is the name in use.
func Challenges(from []Location, realm string) ([]string, error) {
	quoted, err := httperr.QuoteRealm(realm)
	if err != nil {
		return nil, err
	}
	basic, other := false, false
	for _, l := range from {
		basic, other = basic || l.BasicAuth, other || !l.BasicAuth
	}
	var out []string
	if other {
		out = append(out, "ApiKey realm="+quoted)
	}
	if basic {
		out = append(out, "Basic realm="+quoted+`, charset="UTF-8"`)
	}
	return out, nil
}

func (a *authenticator) refuse(reason Reason, cause error) *httperr.Error {
	if reason == Unavailable {
		e := &httperr.Error{
			Status: http.StatusServiceUnavailable, Code: "api-keys-unavailable", Detail: "API keys cannot be verified at the moment.", Cause: cause,
		}
		return e.With("Retry-After", retryAfter)
	}
	e := &httperr.Error{Status: http.StatusUnauthorized, Code: "invalid-api-key", Detail: "The API key is not valid.", Cause: cause}
	if reason == Expired {
		e.Detail = "The API key has expired."
	}
	return a.challenged(e)
}

func (a *authenticator) several() *httperr.Error {
	return &httperr.Error{
		Status: http.StatusBadRequest, Code: "several-credentials", Detail: "The request has more than one credential: send one token or one API key.",
	}
}

func (a *authenticator) challenged(e *httperr.Error) *httperr.Error {
	for _, c := range a.challenges {
		e = e.With("WWW-Authenticate", c)
	}
	return e
}
