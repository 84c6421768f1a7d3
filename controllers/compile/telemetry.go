package compile

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// telemetry converts a section of the class.
func (c *compiler) telemetry(in *v1alpha1.Telemetry) *compiled.Telemetry {
	if in == nil || in.OTLP == nil {
		return nil
	}
	const field = "sidecarClass.spec.telemetry.otlp"
	o := in.OTLP
	out := &compiled.OTLP{Endpoint: o.Endpoint, Protocol: compiled.OTLPProtocol(o.Protocol), Headers: c.secretRef(field+".headersRef", o.HeadersRef)}
	if o.SampleRatio != nil {
		var err error
		if out.SampleRatio, err = o.SampleRatio.Float(); err != nil {
			c.errorf(field+".sampleRatio", "%v", err)
		}
	}
	switch {
	case o.TLS == nil:
	case o.TLS.Mode != v1alpha1.OTLPTLSDisable:
		out.TLS = &compiled.OTLPTLS{ServerName: o.TLS.ServerName, CABundle: o.TLS.CABundle}
	case o.TLS.CABundle != "" || o.TLS.ServerName != "":
		c.errorf(field+".tls", "caBundle and serverName have no effect with mode Disable: write mode: VerifyFull, or remove them")
	}
	return &compiled.Telemetry{OTLP: out}
}
