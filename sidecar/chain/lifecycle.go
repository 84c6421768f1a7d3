package chain

import (
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/lifecycle"
)

func (b *builder) lifecycle() stage.Stage {
	s, err := lifecycle.New(lifecycle.Config{Rules: b.lifecycleRules()})
	b.fail(err, "audit.lifecycle")
	return s
}

// lifecycleRules returns the rules of the policy's audit trail. Documents have none yet.
func (b *builder) lifecycleRules() []lifecycle.Rule { return b.lifecycles }
