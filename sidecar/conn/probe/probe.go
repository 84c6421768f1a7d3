// Package probe serves the kubelet's probes and HTTP lifecycle hooks on the sidecar's admin port. The list of entries is fixed
// when the pod is created. A request selects one entry by its exact path and cannot change it.
package probe

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/keys/secret"
)

// TokenHeader is the field in which the kubelet sends an entry's token; the webhook writes it into the probe's httpHeaders.
const TokenHeader = "Postern-Probe-Token"

const (
	// MaxTimeout bounds an entry's timeout. A preStop hook may take as long as a generous grace period.
	MaxTimeout = time.Hour
	// MaxProbes bounds the list: far more containers than a pod has.
	MaxProbes = 256
	// minToken is the minimum length of a token: 128 bits in base64url.
	minToken = 22
	// maxText bounds a path, header value or service name, in bytes.
	maxText = 4096
)

// Probe is one entry of the list: exactly one of HTTP, TCP and GRPC is set.
type Probe struct {
	// Name is "<container>/<kind>" with kind liveness, readiness, startup, postStart or preStop.
	Name string
	HTTP *HTTP
	TCP  *TCP
	GRPC *GRPC
	// Timeout bounds one call to the app.
	Timeout time.Duration
	// Token is required in each request if it is set. Hooks must have one: they have effects, and every pod in the network can
	// reach the admin port.
	Token secret.Value
}

// HTTP probes with GET; statuses 200–399 are healthy.
type HTTP struct {
	// Scheme is "HTTP" or "HTTPS", as in a pod; empty is HTTP. Certificates are not verified, as the kubelet does not either.
	Scheme string
	Port   uint16
	// Path may have a query; empty is "/".
	Path    string
	Headers []Field
	// Host replaces the Host header, if it is set; so does a header of that name.
	Host string
}

// Field is one header field.
type Field struct {
	Name  string
	Value string
}

// TCP is healthy when a connection opens.
type TCP struct {
	Port uint16
}

// GRPC calls grpc.health.v1.Health/Check without TLS, as the kubelet does.
type GRPC struct {
	Port uint16
	// Service names a service; if it is empty, the server is checked.
	Service string
}

// Hook reports whether the entry is a lifecycle hook (postStart, preStop) and not a probe.
func (p Probe) Hook() bool {
	_, kind, _ := strings.Cut(p.Name, "/")
	return kind == "postStart" || kind == "preStop"
}

// Validate says what is wrong with the entry.
func (p Probe) Validate() error {
	if err := p.check(); err != nil {
		return fmt.Errorf("checking probe %.100q: %w", p.Name, err)
	}
	return nil
}

func (p Probe) check() error {
	container, kind, _ := strings.Cut(p.Name, "/")
	if !isLabel(container) {
		return fmt.Errorf("name does not start with a container's name and a slash")
	}
	switch kind {
	case "liveness", "readiness", "startup", "postStart", "preStop":
	default:
		return fmt.Errorf("name does not end in liveness, readiness, startup, postStart or preStop")
	}
	token := len(p.Token.Reveal())
	switch {
	case p.Timeout <= 0 || p.Timeout > MaxTimeout:
		return fmt.Errorf("timeout %v is not above 0 and at most %v", p.Timeout, MaxTimeout)
	case p.Token.IsZero() && p.Hook():
		return fmt.Errorf("a lifecycle hook needs a token: without one, any pod could trigger it")
	case !p.Token.IsZero() && (token < minToken || token > maxText):
		return fmt.Errorf("token has %d characters, not %d to %d", token, minToken, maxText)
	case p.Hook() && p.HTTP == nil:
		return fmt.Errorf("a lifecycle hook must be HTTP")
	}
	return p.checkAction()
}

func (p Probe) checkAction() error {
	var port uint16
	actions := 0
	var err error
	if p.HTTP != nil {
		actions, port, err = actions+1, p.HTTP.Port, p.HTTP.check()
	}
	if p.TCP != nil {
		actions, port = actions+1, p.TCP.Port
	}
	if p.GRPC != nil {
		actions, port = actions+1, p.GRPC.Port
		if len(p.GRPC.Service) > maxText {
			err = fmt.Errorf("service is longer than %d bytes", maxText)
		}
	}
	switch {
	case actions != 1:
		return fmt.Errorf("exactly one of http, tcp and grpc must be set, not %d", actions)
	case port == 0:
		return fmt.Errorf("port is missing")
	}
	return err
}

func (h *HTTP) check() error {
	if h.Scheme != "" && h.Scheme != "HTTP" && h.Scheme != "HTTPS" {
		return fmt.Errorf("scheme %.20q is neither HTTP nor HTTPS", h.Scheme)
	}
	if len(h.Path) > maxText {
		return fmt.Errorf("path is longer than %d bytes", maxText)
	}
	if len(h.Headers) > 100 {
		return fmt.Errorf("there are %d headers, more than 100", len(h.Headers))
	}
	for _, f := range append(h.Headers[:len(h.Headers):len(h.Headers)], Field{Name: "Host", Value: h.Host}) {
		if !isToken(f.Name) || !isFieldValue(f.Value) {
			return fmt.Errorf("header %.50q cannot be sent", f.Name)
		}
	}
	return nil
}

// url is the request's URL at hostport, parsed as the kubelet parses it: a path that is not a valid URL is taken literally.
func (h *HTTP) url(hostport string) *url.URL {
	u, err := url.Parse(h.Path)
	if err != nil || u.Opaque != "" {
		u = &url.URL{Path: h.Path}
	}
	u.Scheme, u.Host, u.User, u.Fragment = "http", hostport, nil, ""
	if h.Scheme == "HTTPS" {
		u.Scheme = "https"
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path, u.RawPath = "/"+u.Path, ""
	}
	return u
}

// isLabel reports whether s is a DNS label (RFC 1123), which container names are.
func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// isToken reports whether s is a field name, RFC 9110 §5.6.2.
func isToken(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}

// isFieldValue reports whether s has no control characters but tab, RFC 9110 §5.5.
func isFieldValue(s string) bool {
	if len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// validate checks the whole list.
func validate(probes []Probe) error {
	if len(probes) > MaxProbes {
		return fmt.Errorf("checking probes: %d are more than %d", len(probes), MaxProbes)
	}
	seen := make(map[string]bool, len(probes))
	for _, p := range probes {
		if err := p.Validate(); err != nil {
			return err
		}
		if seen[p.Name] {
			return fmt.Errorf("checking probes: %q is listed twice", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}
