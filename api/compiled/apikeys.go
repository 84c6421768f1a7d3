package compiled

import (
	"errors"
	"fmt"
)

// The providers and the issuers of the identities that API keys and users give. No token has them: a policy with API keys or users
// cannot have such a provider.
const (
	APIKeysProvider    = "api-keys"
	APIKeysIssuer      = "urn:postern:api-keys"
	BasicUsersProvider = "basic-users"
	BasicUsersIssuer   = "urn:postern:basic-users"
)

// APIKeys says where requests have API keys, and where the files of their hashes and of users are.
type APIKeys struct {
	// From is empty if there are no Keys.
	From []APIKeyLocation `json:"from,omitempty"`
	// Keys and Users are files; at least one is not nil. Users send Authorization: Basic.
	Keys  *SecretRef `json:"keys,omitempty"`
	Users *SecretRef `json:"users,omitempty"`
	// ForwardKey leaves a valid key or password in the request.
	ForwardKey      bool            `json:"forwardKey,omitempty"`
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`
	Mode            Mode            `json:"mode"`
}

// APIKeyLocation is a header (with the prefix before the key), a parameter of the query, or the password of HTTP Basic authentication.
type APIKeyLocation struct {
	Header    string `json:"header,omitempty"`
	Prefix    string `json:"prefix,omitempty"`
	Query     string `json:"query,omitempty"`
	BasicAuth bool   `json:"basicAuth,omitempty"`
}

func (a *APIKeys) validate() error {
	if a == nil {
		return nil
	}
	errs := []error{oneOf("mode", a.Mode, Enforce, Shadow)}
	if a.Keys == nil && a.Users == nil || (a.Keys == nil) != (len(a.From) == 0) {
		errs = append(errs, errors.New("from and keys, users or all three are required"))
	}
	for i, l := range a.From {
		n := 0
		for _, given := range []bool{l.Header != "", l.Query != "", l.BasicAuth} {
			if given {
				n++
			}
		}
		if n != 1 {
			errs = append(errs, fmt.Errorf("from[%d]: exactly one of header, query and basicAuth is required", i))
		}
		if l.BasicAuth && a.Users != nil {
			errs = append(errs, fmt.Errorf("from[%d]: basicAuth and users exclude each other", i))
		}
	}
	return errors.Join(errs...)
}

// CredentialHeaders returns the headers that carry keys.
func (a *APIKeys) CredentialHeaders() []string {
	var names []string
	if a == nil {
		return nil
	}
	if a.Users != nil {
		names = append(names, "Authorization")
	}
	for _, l := range a.From {
		switch {
		case l.Header != "":
			names = append(names, l.Header)
		case l.BasicAuth:
			names = append(names, "Authorization")
		}
	}
	return names
}
