package chain

import (
	"net/http"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// upstreamProtocol tells app, which outlives the document, the document's protocol.
func upstreamProtocol(p *compiled.Policy, app stage.Handler) stage.Handler {
	if p.UpstreamProtocol == "" || app == nil {
		return app
	}
	protocol := request.Protocol(p.UpstreamProtocol)
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		request.From(r).UpstreamProtocol = protocol
		return app.ServeHTTP(w, r)
	})
}
