package ratelimit

import (
	"net/netip"
	"slices"

	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// Exemption selects requests that a rule neither counts nor refuses: one match is enough.
type Exemption struct {
	// ClientAddresses are networks of the client's address after trusted proxies.
	ClientAddresses []netip.Prefix
	// Claims exempt identities that meet one of them.
	Claims []ExemptClaim
}

// ExemptClaim is a claim with the members that exempt an identity.
type ExemptClaim struct {
	// Claim is looked up by identity.Claim.
	Claim   string
	Members identity.Members
}

// covers reports whether the request is exempt.
func (e *Exemption) covers(info *request.Info) bool {
	if len(e.ClientAddresses) > 0 {
		addr := info.ClientAddr.WithZone("").Unmap()
		if slices.ContainsFunc(e.ClientAddresses, func(network netip.Prefix) bool { return network.Contains(addr) }) {
			return true
		}
	}
	if info.Identity == nil {
		return false
	}
	for i := range e.Claims {
		if v, ok := info.Identity.Claim(e.Claims[i].Claim); ok && e.Claims[i].Members.MetBy(v) {
			return true
		}
	}
	return false
}
