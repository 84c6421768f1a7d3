package chain

import (
	"fmt"
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
	"github.com/posterndev/postern/sidecar/stages/clientaddr"
	"github.com/posterndev/postern/sidecar/stages/hopbyhop"
	"github.com/posterndev/postern/sidecar/stages/strip"
)

// A step is one stage of the request path. build returns nil if the policy does not need the stage. It reports errors in the
// document with builder.fail.
type step struct {
	name  string
	build func(*builder) stage.Stage
}

// order returns the request path from the client to the app. docs/request-path.md explains each step under the same name. The
// access log (accesslog.New) surrounds all steps, and the proxy to the app follows them. A response passes the steps in reverse
// order.
func order() []step {
	return []step{
		{"headers", (*builder).headers},
		{"cors", func(b *builder) stage.Stage { return b.cors().decorate }},
		{"errors", func(*builder) stage.Stage { return accesslog.Errors() }},
		{"guard", (*builder).guard},
		{"hop-by-hop", func(b *builder) stage.Stage { return hopbyhop.New(b.reliedOn()) }},
		{"strip", func(b *builder) stage.Stage { return strip.New(b.policy.IdentityHeaders(), b.reliedOn()) }},
		{"client-address", func(b *builder) stage.Stage { return clientaddr.New(b.clientAddress()) }},
		{"plaintext", (*builder).plaintext},
		{"cors-preflight", func(b *builder) stage.Stage { return b.cors().preflight }},
		{"audit", (*builder).audit},
		{"exhausted-limits", func(b *builder) stage.Stage { return b.rateLimits().before }},
		{"token-transport", func(b *builder) stage.Stage { return b.tokens().tokenTransport }},
		{"renewal", (*builder).renewal},
		{"authentication", (*builder).authn},
		{"api-keys", (*builder).apiKeys},
		{"client-certificate", (*builder).clientCertificates},
		{"forwarded-cert", (*builder).forwardedCertificate},
		{"revocation", (*builder).revocation},
		{"session", (*builder).session},
		{"authorization", (*builder).authz},
		{"limits", func(b *builder) stage.Stage { return b.rateLimits().after }},
		{"places", func(b *builder) stage.Stage { return b.rateLimits().places }},
		{"password-policy", (*builder).passwordStage},
		{"compression", (*builder).compression},
		{"response-costs", func(b *builder) stage.Stage { return b.rateLimits().charges }},
		{"backchannel-logout", func(b *builder) stage.Stage { return b.tokens().backChannel }},
		{"token-endpoints", func(b *builder) stage.Stage { return b.tokens().endpoints }},
		{"login", func(b *builder) stage.Stage { return b.tokens().login }},
		{"login-protection", (*builder).loginProtection},
		{"lifecycle", (*builder).lifecycleStage},
	}
}

// A profile selects steps by name. Their order is always that of the table.
type profile []string

// proxyProfile is the profile of an active policy: every step.
func proxyProfile() profile {
	var names profile
	for _, s := range order() {
		names = append(names, s.name)
	}
	return names
}

// deletedProfile is the profile of a deleted policy, whose rules no longer apply. Forged identity headers are still removed,
// because the app was configured to trust them.
func deletedProfile() profile {
	return profile{"errors", "guard", "hop-by-hop", "strip", "client-address"}
}

// pick returns the steps of the profile in the order of the table. An unknown or repeated name is an error.
func pick(table []step, p profile) ([]step, error) {
	wanted := map[string]bool{}
	for _, name := range p {
		if wanted[name] {
			return nil, fmt.Errorf("selecting stages: %q is repeated", name)
		}
		if !slices.ContainsFunc(table, func(s step) bool { return s.name == name }) {
			return nil, fmt.Errorf("selecting stages: unknown stage %q", name)
		}
		wanted[name] = true
	}
	picked := make([]step, 0, len(p))
	for _, s := range table {
		if wanted[s.name] {
			picked = append(picked, s)
		}
	}
	if len(picked) != len(p) {
		return nil, fmt.Errorf("selecting stages: a name is repeated in the table")
	}
	return picked, nil
}
