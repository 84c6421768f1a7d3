package v1alpha1

// Telemetry is what sidecars tell other systems about requests.
type Telemetry struct {
	// OTLP sends traces, and the audit trails of policies with the sink OTLP, to an OpenTelemetry collector. Without it there are none.
	// +optional
	OTLP *OTLP `json:"otlp,omitempty"`
}

// OTLPProtocol is how the collector is called.
// +kubebuilder:validation:Enum=grpc;http
type OTLPProtocol string

const (
	// OTLPGRPC is OTLP/gRPC.
	OTLPGRPC OTLPProtocol = "grpc"
	// OTLPHTTP is OTLP/HTTP with bodies in Protocol Buffers.
	OTLPHTTP OTLPProtocol = "http"
)

// Ratio is a number from 0 to 1.
//
// +kubebuilder:validation:Type=number
// +kubebuilder:validation:Minimum=0
// +kubebuilder:validation:Maximum=1
type Ratio string

// OTLP is the connection to an OpenTelemetry collector.
//
// +kubebuilder:validation:XValidation:rule="!has(self.headersRef) || (has(self.tls) && (!has(self.tls.mode) || self.tls.mode == 'VerifyFull'))",message="headersRef has credentials, which are not sent in plain text: add tls: {mode: VerifyFull}"
// +kubebuilder:validation:XValidation:rule="!self.endpoint.contains('/') || (has(self.protocol) && self.protocol == 'http')",message="only protocol http has a path in its endpoint: write host:port, such as otel.platform.svc:4317"
type OTLP struct {
	// Endpoint of the collector as host:port. The usual port is 4317 for grpc, and 4318 for http, which may have a path before /v1/traces.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}(/[A-Za-z0-9._~/-]*)?$")`,message="not an endpoint: write host:port without a scheme, such as otel.platform.svc:4317"
	Endpoint string `json:"endpoint"`
	// Protocol is grpc or http.
	// +optional
	Protocol OTLPProtocol `json:"protocol,omitempty"`
	// SampleRatio is the share of requests with a trace, from 0 to 1. It applies to requests whose caller is not in trustedProxies, or sends
	// no traceparent. Otherwise the caller has decided.
	// +optional
	SampleRatio *Ratio `json:"sampleRatio,omitempty"`
	// HeadersRef selects header fields for each request to the collector, such as a credential: name=value pairs separated by commas,
	// with values in percent-encoding, as in OTEL_EXPORTER_OTLP_HEADERS. A rotated value is used without a restart.
	// +optional
	HeadersRef *SecretRef `json:"headersRef,omitempty"`
	// TLS configures TLS to the collector. Without it, the connection is not encrypted.
	// +optional
	TLS *OTLPTLS `json:"tls,omitempty"`
}

// OTLPTLSMode is whether the connection is encrypted.
// +kubebuilder:validation:Enum=Disable;VerifyFull
type OTLPTLSMode string

const (
	// OTLPTLSDisable does not encrypt.
	OTLPTLSDisable OTLPTLSMode = "Disable"
	// OTLPTLSVerifyFull encrypts, and verifies the certificate and its name.
	OTLPTLSVerifyFull OTLPTLSMode = "VerifyFull"
)

// OTLPTLS configures TLS to the collector.
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'Disable' || !has(self.caBundle) && !has(self.serverName)",message="caBundle and serverName have no effect with mode Disable: write mode: VerifyFull, or remove them"
type OTLPTLS struct {
	// Mode is VerifyFull, or Disable for a connection that is not encrypted.
	// +optional
	Mode OTLPTLSMode `json:"mode,omitempty"`
	// CABundle contains the CA certificates, in PEM, that verify the collector, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
	// ServerName is the name in the certificate of the collector.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`
}
