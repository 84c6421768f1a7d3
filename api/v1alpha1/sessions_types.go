package v1alpha1

// Sessions bounds how long people stay logged in, and on how many devices. Sessions of the policy's own tokens are always
// kept; those of external providers where subjectFrom says so.
//
// +kubebuilder:validation:XValidation:rule="!has(self.idleTimeout) || duration(self.idleTimeout) <= duration(has(self.absoluteTimeout) ? self.absoluteTimeout : '720h')",message="idleTimeout is longer than absoluteTimeout, and would never apply"
type Sessions struct {
	// IdleTimeout ends a session that was not used for so long. Left out: tokens.refreshLifetime, or else absoluteTimeout.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="idleTimeout is from 1s to 8760h"
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
	// AbsoluteTimeout ends a session however much it is used.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('8760h')",message="absoluteTimeout is from 1s to 8760h"
	AbsoluteTimeout Duration `json:"absoluteTimeout,omitempty"`
	// MaxPerSubject is how many sessions one subject may have at once, however many log in at the same moment. Left out: 256.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	MaxPerSubject int32 `json:"maxPerSubject,omitempty"`
	// WhenFull says what a login does beyond maxPerSubject: EvictOldest ends the oldest session, Reject answers 409. Neither
	// is a failed login.
	// +optional
	WhenFull WhenFull `json:"whenFull,omitempty"`
	// Device ties sessions to the device of their login.
	// +optional
	Device *SessionDevice `json:"device,omitempty"`
	// SubjectFrom keeps a session for tokens of jwt.providers as well: one for each claim sid, or one for each sub. Left out:
	// for none.
	// +optional
	// +kubebuilder:validation:Enum=sid;sub
	SubjectFrom string `json:"subjectFrom,omitempty"`
	// OnFailure says what happens to requests of sessions while the store does not answer: Deny answers 503, Allow takes them
	// to go on.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
	// Mode Shadow decides, counts and logs, and lets pass.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// WhenFull is what happens at a cap.
// +kubebuilder:validation:Enum=EvictOldest;Reject
type WhenFull string

const (
	// WhenFullEvict ends the oldest session.
	WhenFullEvict WhenFull = "EvictOldest"
	// WhenFullReject refuses the new one.
	WhenFullReject WhenFull = "Reject"
)

// SessionDevice ties sessions to devices.
type SessionDevice struct {
	// Bind says what must be as it was at the login: None, the UserAgent's browser and system, or the client's Address.
	// +optional
	// +kubebuilder:validation:Enum=None;UserAgent;Address
	Bind string `json:"bind,omitempty"`
}

// Revocation refuses tokens before they expire, for the policy's own tokens and those of jwt.providers. It holds for every
// policy of the namespace that shares the Redis. With tokens, or a provider's backChannelLogout, it is on whether or not the
// section is there.
type Revocation struct {
	// MaxStaleness is how old a sidecar's knowledge may be before onFailure applies.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="maxStaleness is from 1s to 1h"
	MaxStaleness Duration `json:"maxStaleness,omitempty"`
	// OnFailure: Deny answers 503 where a token is needed, Allow goes by what was known last.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
	// Mode Shadow decides, counts and logs, and lets pass.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// BackChannelLogout lets a provider end sessions by OpenID Connect Back-Channel Logout 1.0. The endpoint is
// tokens.endpoints.prefix (/auth) with /backchannel-logout.
type BackChannelLogout struct {
	// ClientIDs are what the provider calls this client: the logout token's aud must hold one. Left out: audiences.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	ClientIDs []string `json:"clientIDs,omitempty"`
	// AnyType also takes logout tokens of typ JWT or none, which older providers send. Left out: logout+jwt alone.
	// +optional
	AnyType bool `json:"anyType,omitempty"`
}

// PasswordPolicy is for the loopback API, by which the app hashes and verifies passwords.
type PasswordPolicy struct {
	// Hash is how new hashes are made; of an older or weaker one the API says that it should be replaced.
	// +optional
	Hash *PasswordHash `json:"hash,omitempty"`
}

// PasswordHash is an algorithm and its cost.
//
// +kubebuilder:validation:XValidation:rule="!has(self.argon2id) || !has(self.algorithm) || self.algorithm == 'Argon2id'",message="argon2id goes with algorithm Argon2id"
// +kubebuilder:validation:XValidation:rule="!has(self.bcrypt) || (has(self.algorithm) && self.algorithm == 'Bcrypt')",message="bcrypt goes with algorithm Bcrypt"
type PasswordHash struct {
	// Algorithm of new hashes.
	// +optional
	// +kubebuilder:validation:Enum=Argon2id;Bcrypt
	Algorithm string `json:"algorithm,omitempty"`
	// Argon2id is its cost. Left out: 19MiB, 2 passes, 1 lane, which OWASP asks for at least.
	// +optional
	Argon2id *Argon2idCost `json:"argon2id,omitempty"`
	// Bcrypt is its cost. Left out: 12.
	// +optional
	Bcrypt *BcryptCost `json:"bcrypt,omitempty"`
}

// Argon2idCost is RFC 9106's m, t and p.
type Argon2idCost struct {
	// Memory of one hash.
	// +optional
	Memory Size `json:"memory,omitempty"`
	// Passes over the memory.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Passes int32 `json:"passes,omitempty"`
	// Parallelism is the number of lanes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Parallelism int32 `json:"parallelism,omitempty"`
}

// BcryptCost is the logarithm of the number of rounds.
type BcryptCost struct {
	// Cost of new hashes.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=15
	Cost int32 `json:"cost,omitempty"`
}
