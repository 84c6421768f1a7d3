package v1alpha1

// BreachedPasswords is a list of passwords that are known from data breaches.
type BreachedPasswords struct {
	// URL of a server with the range API of Have I Been Pwned, such as https://api.pwnedpasswords.com/range. It gets the first five of the
	// forty digits of the password's SHA-1 (k-anonymity), never the password.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// InsecureHTTP accepts an http URL. An attacker who can change the traffic between the sidecar and the server can then hide or add
	// passwords.
	// +optional
	InsecureHTTP bool `json:"insecureHTTP,omitempty"`
	// Timeout of one look-up.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// MinCount is how often a password must be in the list to be refused.
	// +optional
	// +kubebuilder:validation:Minimum=1
	MinCount int32 `json:"minCount,omitempty"`
	// OnFailure is what happens while the server is unavailable: with Allow the password is judged by the other rules, with Deny the
	// request gets the status 503.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
}

// Defaults of BreachedPasswords.
const (
	DefaultBreachedTimeout   Duration = "2s"
	DefaultBreachedMinCount           = 1
	DefaultBreachedOnFailure          = FailAllow
)

func (b *BreachedPasswords) setDefaults() {
	set(&b.Timeout, DefaultBreachedTimeout)
	set(&b.MinCount, DefaultBreachedMinCount)
	set(&b.OnFailure, DefaultBreachedOnFailure)
}
