package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/appapi"
	"github.com/posterndev/postern/sidecar/stages/audit"
)

// Trail is an audit trail, which says whether it is full.
type Trail interface {
	appapi.Trail
	audit.Trail
}

// audit returns the stage that refuses requests while the audit trail is full. There is none if the policy lets requests pass then, or if
// the document is only checked.
func (b *builder) audit() stage.Stage {
	a := b.policy.Audit
	if a == nil || a.OnFailure != compiled.Deny || b.trail == nil {
		return nil
	}
	s, err := audit.New(audit.Config{Trail: b.trail, Shadow: a.Mode == compiled.Shadow})
	b.fail(err, "audit")
	return s
}
