package v1alpha1

// BreachedPasswords is a list of passwords that are known from data breaches: at a URL or in a file.
//
// +kubebuilder:validation:XValidation:rule="has(self.url) != has(self.file)",message="set exactly one of url and file, such as url: https://api.pwnedpasswords.com/range"
// +kubebuilder:validation:XValidation:rule="has(self.url) || (!has(self.caBundle) && !has(self.insecureHTTP))",message="caBundle and insecureHTTP apply to url only: add url, or remove them"
type BreachedPasswords struct {
	// URL of a server with the range API of Have I Been Pwned, such as https://api.pwnedpasswords.com/range. It gets the first five of the
	// forty digits of the password's SHA-1 (k-anonymity), never the password.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url,omitempty"`
	// File is a list on a volume of the policy's namespace, for clusters without access to such a server: lines of the SHA-1 in hexadecimal, a
	// colon and a count, in the order of the hashes, as the downloader of Have I Been Pwned writes them.
	// +optional
	File *VolumeFile `json:"file,omitempty"`
	// CABundle contains the CA certificates, in PEM, that verify the server at url, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
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
	// OnFailure is what happens while the list is unavailable: with Allow the password is judged by the other rules, with Deny the
	// request gets the status 503.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
}

// VolumeFile is a file on a PersistentVolumeClaim of the policy's namespace. The sidecar mounts the claim read-only.
type VolumeFile struct {
	// ClaimName is the name of the PersistentVolumeClaim. The policy's pods do not start before the claim exists and can be mounted.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")`,message="not the name of a PersistentVolumeClaim: write lower-case letters, digits, hyphens and dots, such as breached"
	ClaimName string `json:"claimName"`
	// Path of the file on the volume. It is relative, and symbolic links that leave the volume are not followed.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && self.split('/').all(e, e != '' && e != '.' && e != '..')",message="not a path inside the volume: write a relative one without empty, . and .. elements, such as lists/pwned.txt"
	Path string `json:"path"`
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
