package v1alpha1

// AccessLogFormat is how the fields of the access log are named.
// +kubebuilder:validation:Enum=Postern;ECS
type AccessLogFormat string

const (
	// AccessLogPostern has Postern's own names.
	AccessLogPostern AccessLogFormat = "Postern"
	// AccessLogECS has the names of the Elastic Common Schema.
	AccessLogECS AccessLogFormat = "ECS"
)

// AccessLogField is a field of the access log that can be left out.
// +kubebuilder:validation:Enum=path;route;bytes;clientAddr;userAgent;port;protocol;policy;provider;subject;tokenId;cause
type AccessLogField string

// AccessLogOptions says what the access log has of a request.
type AccessLogOptions struct {
	// SampleRatio is the share of successful requests that are logged, from 0 to 1. A request is successful if its status is below 400, its
	// response is complete, and no rule refused it. All other requests are logged.
	// +optional
	SampleRatio *Ratio `json:"sampleRatio,omitempty"`
	// Omit are fields that are left out, such as clientAddr, userAgent and subject, which are personal data.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=12
	Omit []AccessLogField `json:"omit,omitempty"`
	// Format is Postern, or ECS for the field names of the Elastic Common Schema.
	// +optional
	Format AccessLogFormat `json:"format,omitempty"`
}
