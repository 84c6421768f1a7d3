package v1alpha1

// HeaderPreset is a set of security headers.
// +kubebuilder:validation:Enum=Strict;API;None
type HeaderPreset string

const (
	// PresetStrict is the recommendation of the OWASP Secure Headers Project for websites.
	PresetStrict HeaderPreset = "Strict"
	// PresetAPI is the same for services whose responses are not HTML.
	PresetAPI HeaderPreset = "API"
	// PresetNone sets none.
	PresetNone HeaderPreset = "None"
)

// Headers configures the headers of responses.
type Headers struct {
	// Preset is a set of security headers: Strict for websites, API for services without HTML, None for none. If the app sets a
	// stricter value, that value is kept.
	// +optional
	Preset      HeaderPreset `json:"preset,omitempty"`
	HeaderRules `json:",inline"`
	// Routes change the headers of the responses to some requests. The first route that matches applies.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Routes []HeaderRoute `json:"routes,omitempty"`
}

// HeaderRoute changes the headers of the responses to the requests that it matches. Its preset replaces the policy's, and its lists
// are added to the policy's. If a header is in set of one and in remove of the other, the route decides.
type HeaderRoute struct {
	// Match selects requests: one match is enough.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []RouteMatch `json:"match"`
	// Preset of these responses. If it is unset, they have the policy's.
	// +optional
	Preset      HeaderPreset `json:"preset,omitempty"`
	HeaderRules `json:",inline"`
}

// HeaderRules loosen the preset, and set and remove other headers.
type HeaderRules struct {
	// Keep are headers of the preset whose value the app decides: if its response has the header, that value is kept, even if it is
	// less strict. This includes headers that the preset removes, such as Server.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Request-ID"
	Keep []string `json:"keep,omitempty"`
	// Omit are headers of the preset that the sidecar does not add. What the app sends is kept.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Request-ID"
	Omit []string `json:"omit,omitempty"`
	// Set sets headers to a value. It overrides the preset and the app.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Set []HeaderField `json:"set,omitempty"`
	// Remove removes headers from the app's responses, such as Server.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Request-ID"
	Remove []string `json:"remove,omitempty"`
}

// HeaderField is a header's name and value.
type HeaderField struct {
	// Name of the header field.
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Request-ID"
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="!(self.lowerAscii() in ['content-length','transfer-encoding','connection','trailer','upgrade','te','keep-alive','content-encoding','www-authenticate','vary','date']) && !self.lowerAscii().startsWith('access-control-')",message="HTTP or another section of the policy controls this header field: remove it from set"
	Name string `json:"name"`
	// Value of the header field: visible ASCII, spaces and tabs.
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[\t\x20-\x7e]*$")`,message="a header's value is one line of ASCII text: write one such as max-age=600, and encode other characters"
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value"`
}

// CORS configures which pages of other origins may call the app.
//
// +kubebuilder:validation:XValidation:rule="!has(self.allowCredentials) || !self.allowCredentials || !self.allowOrigins.exists(o, o == '*')",message="allowOrigins has * together with allowCredentials, so any site could act as the user: write the origins, such as https://app.example.com"
type CORS struct {
	// AllowOrigins are origins, such as https://app.example.com, or only *. The first label of a host may be *, which stands for one
	// label: https://*.preview.example.com. The port may be *, which stands for every port: http://localhost:*.
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^(\*|[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|(\*\.)?[a-z0-9.-]+)(:([0-9]{1,5}|\*))?)$")`,message="not an origin: write the scheme and the host in lower case without a path, such as https://app.example.com:8443, https://*.preview.example.com or http://localhost:*"
	// +kubebuilder:validation:XValidation:rule="!self.exists(o, o == '*') || self.size() == 1",message="* allows every origin: write [*] without other origins"
	AllowOrigins []string `json:"allowOrigins"`
	// AllowMethods are the methods that a preflight request may ask for, in addition to GET, HEAD and POST.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^(\*|[A-Za-z-]{1,32})$")`,message="not a method: write one such as PATCH, or *"
	AllowMethods []string `json:"allowMethods,omitempty"`
	// AllowHeaders are the request headers that a preflight request may ask for, in addition to those that need none, such as Accept.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Request-ID"
	AllowHeaders []string `json:"allowHeaders,omitempty"`
	// ExposeHeaders are the response headers that scripts may read.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[A-Za-z0-9!#$%&'*+.^_|~-]{1,128}$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-Request-ID"
	ExposeHeaders []string `json:"exposeHeaders,omitempty"`
	// AllowCredentials allows pages to send cookies and to read the response.
	// +optional
	AllowCredentials bool `json:"allowCredentials,omitempty"`
	// MaxAge is how long a browser may cache the response to a preflight request, at most 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('24h') || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="maxAge is more than 24h, and no browser caches a preflight response longer: write at most 24h"
	MaxAge Duration `json:"maxAge,omitempty"`
}

// Compression configures which responses are compressed: with zstd, br or gzip, as the client accepts.
type Compression struct {
	// MinSize is the smallest response that is compressed, at most 1MiB.
	// +optional
	MinSize Size `json:"minSize,omitempty"`
	// Types are the media types that are compressed. text/* means every subtype of text.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=129
	// +kubebuilder:validation:items:XValidation:rule=`self.matches(r"^[a-z0-9!#$&^_.+-]{1,64}/(\*|[a-z0-9!#$&^_.+-]{1,64})$")`,message="not a media type: write one in lower case, such as application/json or text/*"
	Types []string `json:"types,omitempty"`
}
