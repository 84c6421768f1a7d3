package authn

import "net/http"

// Sent returns a function that reports whether a request has a token, valid or not, in any place that New reads, except in the
// cookie.
func Sent(providers []Provider, cookie string) (func(http.Header) bool, error) {
	a := &authenticator{providers: map[string]*provider{}}
	if err := a.addProviders(providers); err != nil {
		return nil, err
	}
	var places []place
	for _, p := range a.places {
		if p.cookie == "" || p.cookie != cookie {
			places = append(places, p)
		}
	}
	return func(h http.Header) bool {
		found, many := find(h, places, &credential{})
		return found != nil || many
	}, nil
}
