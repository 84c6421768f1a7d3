package chain

import (
	"fmt"
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
	"github.com/posterndev/postern/sidecar/stages/clientaddr"
	"github.com/posterndev/postern/sidecar/stages/guard"
	"github.com/posterndev/postern/sidecar/stages/hopbyhop"
	"github.com/posterndev/postern/sidecar/stages/strip"
)

// A step is one stage of the request path. Its constructor returns nil where the policy does not ask for the stage, and
// reports with builder.fail what in the document is wrong.
type step struct {
	name  string
	build func(*builder) stage.Stage
}

// order returns the request path from the client to the app; docs/request-path.md explains each step under the same name.
// The access log (accesslog.New) is around all of it, and the proxy to the app behind it. A response passes the same steps
// in reverse.
func order() []step {
	return []step{
		{"headers", (*builder).headers},
		{"cors", func(b *builder) stage.Stage { return b.cors().decorate }},
		{"errors", func(*builder) stage.Stage { return accesslog.Errors() }},
		{"guard", func(*builder) stage.Stage { return guard.New() }},
		{"hop-by-hop", func(b *builder) stage.Stage { return hopbyhop.New(reliedOn(b.policy)) }},
		{"strip", func(b *builder) stage.Stage { return strip.New(b.policy.IdentityHeaders(), reliedOn(b.policy)) }},
		{"client-address", func(b *builder) stage.Stage { return clientaddr.New(b.trustedProxies()) }},
		{"cors-preflight", func(b *builder) stage.Stage { return b.cors().preflight }},
		{"exhausted-limits", func(b *builder) stage.Stage { return b.rateLimits().before }},
		{"token-transport", func(b *builder) stage.Stage { return b.tokens().tokenTransport }},
		{"authentication", (*builder).authn},
		{"revocation", (*builder).revocation},
		{"session", (*builder).session},
		{"authorization", (*builder).authz},
		{"limits", func(b *builder) stage.Stage { return b.rateLimits().after }},
		{"compression", (*builder).compression},
		{"backchannel-logout", func(b *builder) stage.Stage { return b.tokens().backChannel }},
		{"token-endpoints", func(b *builder) stage.Stage { return b.tokens().endpoints }},
		{"login", func(b *builder) stage.Stage { return b.tokens().login }},
	}
}

// A profile is a selection of steps by name. Their order is always that of the table.
type profile []string

// proxyProfile is that of a policy in force: every step.
func proxyProfile() profile {
	var names profile
	for _, s := range order() {
		names = append(names, s.name)
	}
	return names
}

// deletedProfile is that of a deleted policy: a person took the rules away. Forged identity headers are still removed,
// because the app was configured to trust them.
func deletedProfile() profile {
	return profile{"errors", "guard", "hop-by-hop", "strip", "client-address"}
}

// pick returns the steps of the profile in the order of the table. A name that the table does not have, or that the
// profile has twice, is an error.
func pick(table []step, p profile) ([]step, error) {
	wanted := map[string]bool{}
	for _, name := range p {
		if wanted[name] {
			return nil, fmt.Errorf("selecting stages: %q is named twice", name)
		}
		if !slices.ContainsFunc(table, func(s step) bool { return s.name == name }) {
			return nil, fmt.Errorf("selecting stages: there is no stage %q", name)
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
		return nil, fmt.Errorf("selecting stages: a name is twice in the table")
	}
	return picked, nil
}
