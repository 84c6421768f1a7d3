package compiled

import "errors"

// Telemetry is what sidecars tell other systems about requests.
type Telemetry struct {
	OTLP *OTLP `json:"otlp,omitempty"`
}

// OTLP is the connection to an OpenTelemetry collector.
type OTLP struct {
	// Endpoint is host:port, with a path for OTLPHTTP only.
	Endpoint    string       `json:"endpoint"`
	Protocol    OTLPProtocol `json:"protocol"`
	SampleRatio float64      `json:"sampleRatio"`
	Headers     *SecretRef   `json:"headers,omitempty"`
	// TLS is nil for a connection that is not encrypted.
	TLS *OTLPTLS `json:"tls,omitempty"`
}

// OTLPProtocol is how the collector is called.
type OTLPProtocol string

// Values of OTLPProtocol that Validate accepts.
const (
	OTLPGRPC OTLPProtocol = "grpc"
	OTLPHTTP OTLPProtocol = "http"
)

// OTLPTLS says how the sidecar verifies the collector.
type OTLPTLS struct {
	ServerName string `json:"serverName,omitempty"`
	CABundle   string `json:"caBundle,omitempty"`
}

// ExportsOTLP reports whether there is a collector, for the sections that need one.
func (p *Policy) ExportsOTLP() bool { return p.Telemetry != nil && p.Telemetry.OTLP != nil }

func (t *Telemetry) validate() error {
	switch {
	case t == nil || t.OTLP == nil:
		return nil
	case t.OTLP.Endpoint == "":
		return errors.New("otlp: endpoint is required")
	case !(t.OTLP.SampleRatio >= 0 && t.OTLP.SampleRatio <= 1):
		return errors.New("otlp: sampleRatio is not between 0 and 1")
	}
	return oneOf("otlp.protocol", t.OTLP.Protocol, OTLPGRPC, OTLPHTTP)
}
