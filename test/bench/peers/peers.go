// Package peers has the settings of the proxies with which the bench compares Postern. Each file says why it has a setting that is
// not a default: a peer that is tuned badly proves nothing.
package peers

import (
	_ "embed"
	"fmt"
	"strings"
	"text/template"
)

//go:embed nginx.conf
var nginxConf string

//go:embed haproxy.cfg
var haproxyCfg string

//go:embed Caddyfile
var caddyfile string

//go:embed oauth2-proxy.cfg
var oauth2ProxyCfg string

// Caddy is the configuration of Caddy.
type Caddy struct{ Dir, Listen, App string }

// OAuth2Proxy is the configuration of oauth2-proxy.
type OAuth2Proxy struct{ Listen, App, Issuer, Audience string }

// NGINX is the configuration of nginx.
type NGINX struct {
	// Dir is the folder for its files. Root is true if it starts as root.
	Dir  string
	Root bool
	// App and Verifier are addresses. Verifier answers auth_request; it is empty for none.
	App, Verifier string
	Servers       []Server
}

// Server is a listener of nginx.
type Server struct {
	Listen           string
	Auth, TLS, HTTP2 bool
}

// HAProxy is the configuration of HAProxy.
type HAProxy struct {
	Dir, App         string
	Issuer, Audience string
	Frontends        []Frontend
}

// Frontend is a listener of HAProxy. With an Algorithm it verifies tokens with the public key in the file Key.
type Frontend struct {
	Name, Listen   string
	Algorithm, Key string
	HTTP2, TLS     bool
}

// Render renders the file.
func (n NGINX) Render() (string, error) { return render("nginx.conf", nginxConf, n) }

// Render renders the file.
func (h HAProxy) Render() (string, error) { return render("haproxy.cfg", haproxyCfg, h) }

// Render renders the file.
func (c Caddy) Render() (string, error) { return render("Caddyfile", caddyfile, c) }

// Render renders the file.
func (o OAuth2Proxy) Render() (string, error) { return render("oauth2-proxy.cfg", oauth2ProxyCfg, o) }

func render(name, text string, values any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("parsing %s: %w", name, err)
	}
	var out strings.Builder
	if err := t.Execute(&out, values); err != nil {
		return "", fmt.Errorf("rendering %s: %w", name, err)
	}
	return out.String(), nil
}
