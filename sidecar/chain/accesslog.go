package chain

import (
	"log/slog"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/stages/accesslog"
)

// logConfig returns the settings of the policy's access log.
func logConfig(p *compiled.Policy, logger *slog.Logger) accesslog.LogConfig {
	c := accesslog.LogConfig{Mode: accesslog.Mode(p.Sidecar.AccessLog), Logger: logger, SampleRatio: 1, Format: accesslog.FormatPostern}
	if o := p.Sidecar.AccessLogOptions; o != nil {
		c.SampleRatio, c.Omit, c.Format = o.SampleRatio, o.Omit, accesslog.Format(o.Format)
	}
	return c
}
