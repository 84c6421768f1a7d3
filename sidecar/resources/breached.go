package resources

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/lookup/breached"
	"github.com/posterndev/postern/sidecar/lookup/service"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
)

// Breached returns the policy's list of breached passwords. Each document has a client of its own.
func (a *Acquirer) Breached(b *compiled.BreachedPasswords) passwordpolicy.Source {
	client := service.NewClient(service.Config{Timeout: b.Timeout.Std()})
	a.onClose(client.Close)
	return breached.URL{Base: b.URL, Client: client}
}
