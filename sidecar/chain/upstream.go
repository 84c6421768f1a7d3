package chain

import (
	"net/http"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
)

// upstreamProtocol tells app, which outlives the document, the document's protocol.
func upstreamProtocol(p *compiled.Policy, app stage.Handler) stage.Handler {
	protocol := request.Protocol(p.UpstreamProtocol)
	if p.UpstreamTLS != nil && protocol != request.H2C {
		protocol = request.HTTP1 // Auto asks the app by h2c, which an app with TLS does not speak
	}
	if protocol == "" || app == nil {
		return app
	}
	return stage.Func(func(w http.ResponseWriter, r *http.Request) error {
		request.From(r).UpstreamProtocol = protocol
		return app.ServeHTTP(w, r)
	})
}
