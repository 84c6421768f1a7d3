package chain

import (
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/lifecycle"
)

func (b *builder) lifecycleStage() stage.Stage {
	s, err := lifecycle.New(lifecycle.Config{Rules: b.lifecycle})
	b.fail(err, "audit.lifecycle")
	return s
}
