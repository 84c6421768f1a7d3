package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// connections converts a section of the class. Without it the sidecar's own limits apply.
func (c *compiler) connections(in *v1alpha1.Connections) *compiled.Connections {
	if in == nil {
		return nil
	}
	return &compiled.Connections{
		Max: int(in.Max), MaxPerAddress: int(in.MaxPerAddress),
		IdleTimeout: c.duration("sidecarClass.spec.connections.idleTimeout", in.IdleTimeout),
	}
}
