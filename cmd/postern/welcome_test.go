package main

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/server"
)

func TestWelcome(t *testing.T) {
	w := welcome{
		server: server.Standalone{
			Document: &compiled.Policy{
				Namespace: "shop", Name: "orders", Mode: compiled.Enforce, Providers: make([]compiled.Provider, 1), RateLimits: make([]compiled.RateLimit, 2),
			},
			Upstream: &url.URL{Scheme: "http", Host: "127.0.0.1:3000"}, Admin: ":9090", Loopback: "127.0.0.1:15992", Version: "v1",
		},
		files: []string{"policy.yaml"}, watched: []string{"policy.yaml"}, address: netip.MustParseAddrPort("0.0.0.0:8080"),
	}
	var b bytes.Buffer
	w.print(logOutput{w: &b, text: true})
	const want = `
postern (version v1) enforces SecurityPolicy shop/orders from policy.yaml
  rules    1 token issuer and 2 rate limits
  requests http://127.0.0.1:8080, to the app at http://127.0.0.1:3000
  health   http://127.0.0.1:9090/readyz, metrics at http://127.0.0.1:9090/metrics
  app API  http://127.0.0.1:15992, also for --server of postern sessions and postern revoke
  state    in memory: limits, sessions and revocations are lost when this process ends
  changes  save policy.yaml to enforce a new policy without a restart
  try      curl -i http://127.0.0.1:8080/
  stop     Ctrl-C

`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
}

func TestWelcomeVariants(t *testing.T) {
	for name, tt := range map[string]struct {
		change       func(*welcome)
		want, wantNo string
	}{
		"shadow mode":    {func(w *welcome) { w.server.Document.Mode = compiled.Shadow }, "shadow mode: nothing is refused", ""},
		"no rules":       {func(*welcome) {}, "no issuers, authorization rules or rate limits", ""},
		"logins":         {func(w *welcome) { w.server.Document.Tokens = &compiled.Tokens{Login: make([]compiled.Match, 1)} }, "1 login route\n", ""},
		"Redis":          {func(w *welcome) { w.server.Document.Redis = &compiled.Redis{Addresses: []string{"a:1", "b:2"}} }, "in Redis at a:1, b:2", "in memory"},
		"not watched":    {func(w *welcome) { w.files, w.watched = []string{"-"}, nil }, "a change needs a restart", "save"},
		"no admin port":  {func(w *welcome) { w.server.Admin = "" }, "", "health"},
		"no app API":     {func(w *welcome) { w.server.Loopback, w.server.Document.Passwords = "", &compiled.Passwords{} }, "", "app API"},
		"app API unused": {func(w *welcome) { w.server.Loopback = "127.0.0.1:1" }, "", "app API"},
		"TLS":            {func(w *welcome) { w.server.Document.TLS = &compiled.TLS{} }, "curl -ik https://127.0.0.1", "curl -i http"},
		"certificates of clients": {func(w *welcome) {
			w.server.Document.TLS = &compiled.TLS{ClientCertificates: &compiled.ClientCertificates{Required: true}}
		}, "curl -ik --cert client.crt --key client.key https://127.0.0.1", ""},
		"certificates that are optional": {func(w *welcome) {
			w.server.Document.TLS = &compiled.TLS{ClientCertificates: &compiled.ClientCertificates{}}
		}, "curl -ik https://127.0.0.1", "--cert"},
		"TLS to the app": {func(w *welcome) {
			w.server.Upstream = &url.URL{Scheme: "http", Host: "127.0.0.1:3000"}
			w.server.Document.UpstreamTLS = &compiled.UpstreamTLS{ServerName: "app.local"}
		}, "to the app at https://127.0.0.1:3000, which is verified as app.local", "app at http:"},
		"an IPv6 listener": {func(w *welcome) { w.address = netip.MustParseAddrPort("[::1]:80") }, "curl -i http://[::1]:80/", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := welcome{
				server:  server.Standalone{Document: &compiled.Policy{Name: "app", Mode: compiled.Enforce}, Upstream: &url.URL{}, Admin: "127.0.0.1:1"},
				address: netip.MustParseAddrPort("127.0.0.1:8080"),
			}
			tt.change(&w)
			var b bytes.Buffer
			w.print(logOutput{w: &b, text: true})
			if !strings.Contains(b.String(), tt.want) || tt.wantNo != "" && strings.Contains(b.String(), tt.wantNo) {
				t.Errorf("want %q, not %q, got:\n%s", tt.want, tt.wantNo, b.String())
			}
		})
	}
}
