package authn

import "net/http"

// StripCredentials returns what takes back what the stage handed to the app: every identity header of providers, and the token
// that was verified, wherever it is. A later stage that finds the token revoked calls it.
func StripCredentials(providers []Provider) (func(http.Header), error) {
	a := &authenticator{providers: map[string]*provider{}}
	if err := a.addProviders(providers); err != nil {
		return nil, err
	}
	names := IdentityHeaders(providers)
	return func(h http.Header) {
		for _, name := range names {
			delete(h, name)
		}
		for _, p := range a.places {
			if found, _ := p.find(h); found != nil {
				found.remove(h)
			}
		}
	}, nil
}
