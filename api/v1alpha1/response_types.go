package v1alpha1

// HeaderPreset is a set of security headers.
// +kubebuilder:validation:Enum=Strict;API;None
type HeaderPreset string

const (
	// PresetStrict is the OWASP Secure Headers project's recommendation for sites.
	PresetStrict HeaderPreset = "Strict"
	// PresetAPI is its counterpart for services that answer no HTML.
	PresetAPI HeaderPreset = "API"
	// PresetNone sets none.
	PresetNone HeaderPreset = "None"
)

// Headers says which headers answers carry.
type Headers struct {
	// Preset of security headers. A stricter value of the app's is kept.
	// +optional
	Preset HeaderPreset `json:"preset,omitempty"`
	// Set gives headers a value, whatever preset and app say.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Set []HeaderField `json:"set,omitempty"`
	// Remove takes headers of the app away.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$`
	Remove []string `json:"remove,omitempty"`
}

// HeaderField is a header's name and value.
type HeaderField struct {
	// Name of the header field.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['content-length','transfer-encoding','connection','trailer','upgrade','te','keep-alive','content-encoding','www-authenticate','vary','date']) && !self.lowerAscii().startsWith('access-control-')",message="this header field is not free to set: HTTP, or a section of the policy, governs it"
	Name string `json:"name"`
	// Value of the header field: visible ASCII, spaces and tabs.
	// +kubebuilder:validation:Pattern=`^[\t\x20-\x7e]*$`
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value"`
}

// CORS says which pages of other origins may call the app.
//
// +kubebuilder:validation:XValidation:rule="!has(self.allowCredentials) || !self.allowCredentials || !self.allowOrigins.exists(o, o == '*')",message="allowOrigins has * together with allowCredentials: any site could act as the user; name the origins"
type CORS struct {
	// AllowOrigins are exact origins, as https://app.example.com, or * alone.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^(\*|[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?)$`
	// +kubebuilder:validation:XValidation:rule="!self.exists(o, o == '*') || self.size() == 1",message="* allows every origin already: name it alone"
	AllowOrigins []string `json:"allowOrigins"`
	// AllowMethods are the methods that a preflight may ask for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^(\*|[A-Za-z-]{1,32})$`
	AllowMethods []string `json:"allowMethods,omitempty"`
	// AllowHeaders are the request headers that a preflight may ask for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$`
	AllowHeaders []string `json:"allowHeaders,omitempty"`
	// ExposeHeaders are the answer's headers that scripts may read.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$`
	ExposeHeaders []string `json:"exposeHeaders,omitempty"`
	// AllowCredentials lets pages send cookies and read the answer.
	// +optional
	AllowCredentials bool `json:"allowCredentials,omitempty"`
	// MaxAge is how long a browser may remember a preflight; at most 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('24h')",message="maxAge is at most 24h: no browser keeps a preflight longer"
	MaxAge Duration `json:"maxAge,omitempty"`
}

// Compression says which answers are compressed, with zstd, br or gzip by what the client accepts.
type Compression struct {
	// MinSize: smaller answers are sent as they are.
	// +optional
	MinSize Size `json:"minSize,omitempty"`
	// Types are media types, or a type with any subtype (text/*). Left out: the usual texts, JSON, JavaScript, XML, SVG.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9!#$&^_.+-]{1,64}/(\*|[a-z0-9!#$&^_.+-]{1,64})$`
	Types []string `json:"types,omitempty"`
}
