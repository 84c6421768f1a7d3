package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// requestID converts a section of the class.
func requestID(in *v1alpha1.RequestID) *compiled.RequestID {
	if in == nil {
		return nil
	}
	return &compiled.RequestID{Header: in.Header, FromClients: compiled.RequestIDSource(in.FromClients)}
}
