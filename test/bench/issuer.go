package main

import (
	"encoding/json"
	"net"
	"net/http"
)

// serveIssuer serves the discovery document and the keys of an OpenID provider, for the peer that reads them. It returns
// a server to close.
func serveIssuer(l net.Listener, keys string) *http.Server {
	url := "http://" + l.Addr().String()
	discovery, _ := json.Marshal(map[string]any{ // cannot fail: strings only
		"issuer": url, "authorization_endpoint": url + "/authorize", "token_endpoint": url + "/token", "jwks_uri": url + "/jwks",
		"id_token_signing_alg_values_supported": []string{"RS256", "ES256"}, "response_types_supported": []string{"code"},
		"subject_types_supported": []string{"public"},
	})
	mux := http.NewServeMux()
	for path, body := range map[string][]byte{"/.well-known/openid-configuration": discovery, "/jwks": []byte(keys)} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		})
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	return server
}
