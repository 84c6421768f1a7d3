package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/requestid"
	"github.com/posterndev/postern/sidecar/stages/clientaddr"
)

// requestIDs returns how requests get their ids.
func requestIDs(p *compiled.Policy, client clientaddr.Locator) (*requestid.IDs, error) {
	c := requestid.Config{Header: requestIDHeader(p), Keep: requestid.Never, Trusted: client.Trusts}
	if r := p.Sidecar.RequestID; r != nil {
		c.Keep = requestid.Source(r.FromClients)
	}
	return requestid.New(c)
}

// requestIDHeader returns the header field of request ids.
func requestIDHeader(p *compiled.Policy) string {
	if r := p.Sidecar.RequestID; r != nil {
		return r.Header
	}
	return compiled.DefaultRequestIDHeader
}
