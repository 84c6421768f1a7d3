package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/server"
)

// welcome is the text that postern run prints when it has started: what is enforced, and what to do next.
type welcome struct {
	server server.Standalone
	// files are those of the policy. watched has those whose changes are enforced.
	files, watched []string
	address        netip.AddrPort
}

func (w welcome) print(o logOutput) {
	p := w.server.Document
	var text strings.Builder
	title := fmt.Sprintf("postern (version %s) enforces SecurityPolicy %s/%s from %s", w.server.Version, p.Namespace, p.Name, strings.Join(w.files, ", "))
	fmt.Fprintf(&text, "\n%s\n", o.paint(bold, title))
	for _, line := range w.lines() {
		fmt.Fprintf(&text, "  %s %s\n", o.paint(cyan, fmt.Sprintf("%-8s", line[0])), line[1])
	}
	text.WriteByte('\n')
	_, _ = o.w.Write([]byte(text.String())) // ignore errors of a closed terminal
}

// lines returns pairs of a topic and its text.
func (w welcome) lines() [][2]string {
	address, try := urlOf(w.address.String()), "curl -i "
	if w.server.Document.TLS != nil {
		// The certificate is for the names of the service, and its CA may not be that of this machine.
		address, try = "https"+strings.TrimPrefix(address, "http"), "curl -ik "
		if c := w.server.Document.TLS.ClientCertificates; c != nil && c.Required {
			try += "--cert client.crt --key client.key "
		}
	}
	lines := [][2]string{
		{"rules", w.rules()},
		{"requests", address + ", to the app at " + w.upstream()},
	}
	if w.server.Admin != "" {
		lines = append(lines, [2]string{"health", urlOf(w.server.Admin) + "/readyz, metrics at " + urlOf(w.server.Admin) + "/metrics"})
	}
	if p := w.server.Document; w.server.Loopback != "" && (p.Tokens != nil || len(p.Providers) > 0 || p.Passwords != nil) {
		lines = append(lines, [2]string{"app API", urlOf(w.server.Loopback) + ", also for --server of postern sessions and postern revoke"})
	}
	return append(lines, [2]string{"state", w.state()}, [2]string{"changes", w.changes()}, [2]string{"try", try + address + "/"},
		[2]string{"stop", "Ctrl-C"})
}

// upstream returns the URL of the app, as the sidecar reaches it.
func (w welcome) upstream() string {
	tls := w.server.Document.UpstreamTLS
	if tls == nil {
		return w.server.Upstream.String()
	}
	return "https" + strings.TrimPrefix(w.server.Upstream.String(), "http") + ", which is verified as " + tls.ServerName
}

// rules counts the rules of the policy.
func (w welcome) rules() string {
	p := w.server.Document
	logins := 0
	if p.Tokens != nil {
		logins = len(p.Tokens.Login)
	}
	rules := cmp.Or(enumerate(
		counted{len(p.Providers), "token issuer", "token issuers"}, counted{logins, "login route", "login routes"},
		counted{len(p.Authorization.Rules), "authorization rule", "authorization rules"}, counted{len(p.RateLimits), "rate limit", "rate limits"},
	), "no issuers, authorization rules or rate limits")
	if p.Mode == compiled.Shadow {
		rules += "; shadow mode: nothing is refused"
	}
	return rules
}

func (w welcome) state() string {
	if r := w.server.Document.Redis; r != nil {
		return "in Redis at " + strings.Join(r.Addresses, ", ")
	}
	return "in memory: limits, sessions and revocations are lost when this process ends"
}

func (w welcome) changes() string {
	if len(w.watched) > 0 {
		return "save " + strings.Join(w.watched, " or ") + " to enforce a new policy without a restart"
	}
	return strings.Join(w.files, ", ") + " cannot be watched: a change needs a restart"
}

// urlOf returns the URL of a listener on this machine. For an unspecified address it uses 127.0.0.1.
func urlOf(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://" + listen
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}
