package v1alpha1

// APIKeys accepts API keys, users of an htpasswd file, or both, as a second credential. A request with several credentials is refused.
//
// +kubebuilder:validation:XValidation:rule="has(self.keysRef) || has(self.usersRef)",message="there is no file to verify keys or users with: add keysRef, usersRef or both"
// +kubebuilder:validation:XValidation:rule="has(self.keysRef) || !has(self.from)",message="from says where API keys are, but there is no key file: add keysRef, or remove from, because users of usersRef always use HTTP Basic authentication"
// +kubebuilder:validation:XValidation:rule="!has(self.usersRef) || !has(self.from) || self.from.all(l, !has(l.basicAuth) || !l.basicAuth)",message="Authorization: Basic is either an API key (from basicAuth) or a user of usersRef: write another place in from, such as header: X-API-Key, or remove usersRef"
type APIKeys struct {
	// From are the places in a request where the sidecar looks for the key.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	From []APIKeyLocation `json:"from,omitempty"`

	// KeysRef is the key file: a YAML list of entries {id, hash, subject, scopes, claims, expires}, as postern apikey new writes them. It has
	// the hashes of keys, and no key.
	// +optional
	KeysRef *SecretRef `json:"keysRef,omitempty"`

	// UsersRef is an htpasswd file with bcrypt hashes, as htpasswd -B writes them. Its users send their name and password by HTTP Basic
	// authentication.
	// +optional
	UsersRef *SecretRef `json:"usersRef,omitempty"`

	// ForwardKey leaves a valid key or password in the request to the app. One that is not valid never reaches the app.
	// +optional
	ForwardKey bool `json:"forwardKey,omitempty"`

	// ClaimsToHeaders sends claims of the key's entry to the app. A user has the claim sub, the name, and no other. These headers are removed from every request first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	ClaimsToHeaders []ClaimToHeader `json:"claimsToHeaders,omitempty"`

	// Mode is Enforce, or Shadow: a request with several credentials is then only recorded, and passes with the identity of its token, or
	// with none.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// APIKeyLocation is a place where a request has its API key: a header, a query parameter, or the password of HTTP Basic authentication.
//
// +kubebuilder:validation:XValidation:rule="[has(self.header), has(self.query), has(self.basicAuth) && self.basicAuth].filter(x, x).size() == 1",message="set exactly one of header, query and basicAuth: true, such as header: X-API-Key"
// +kubebuilder:validation:XValidation:rule="!has(self.prefix) || has(self.header)",message="prefix applies to header only: add header, or remove prefix"
type APIKeyLocation struct {
	// Header is the name of a header field.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9-]{1,64}$")`,message="not the name of a header field: write letters, digits and hyphens, such as X-API-Key"
	Header string `json:"header,omitempty"`
	// Prefix is the text before the key in the header, with its space: "ApiKey ".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Prefix string `json:"prefix,omitempty"`
	// Query is the name of a query parameter. It is discouraged: browsers, proxies and their logs keep URLs.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[A-Za-z0-9_.-]{1,64}$")`,message="not the name of a query parameter: write letters, digits, underscores, hyphens and dots, such as api_key"
	Query string `json:"query,omitempty"`
	// BasicAuth reads the key from the password of the Authorization header with the scheme Basic. The user name is not used.
	// +optional
	BasicAuth bool `json:"basicAuth,omitempty"`
}
