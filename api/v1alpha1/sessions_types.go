package v1alpha1

// Sessions limits how long users stay logged in, and on how many devices. The sidecar always keeps sessions for the policy's own
// tokens. For tokens of external issuers it keeps them if subjectFrom is set.
//
// +kubebuilder:validation:XValidation:rule="!has(self.idleTimeout) || duration(self.idleTimeout) <= duration(has(self.absoluteTimeout) ? self.absoluteTimeout : '720h') || has(self.idleTimeout) && !self.idleTimeout.matches('^([0-9]{1,9}(ms|s|m|h))+$') || has(self.absoluteTimeout) && !self.absoluteTimeout.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="idleTimeout is longer than absoluteTimeout (720h if it is unset), so it would never apply: write a shorter idleTimeout"
type Sessions struct {
	// IdleTimeout is how long a session may be unused before it ends.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('8760h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="idleTimeout is not between 1s and 8760h: write a duration such as 24h"
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
	// AbsoluteTimeout is how long a session lasts at most, even if it is used.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('8760h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="absoluteTimeout is not between 1s and 8760h: write a duration such as 720h"
	AbsoluteTimeout Duration `json:"absoluteTimeout,omitempty"`
	// MaxPerSubject is how many sessions one subject may have at the same time. It is exact, even with concurrent logins.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=256
	MaxPerSubject int32 `json:"maxPerSubject,omitempty"`
	// WhenFull is what happens at a login beyond maxPerSubject: EvictOldest ends the oldest session, Reject refuses the login with the
	// status 409. Neither counts as a failed login.
	// +optional
	WhenFull WhenFull `json:"whenFull,omitempty"`
	// WhenMemoryFull is what happens without Redis if the pod's memory for sessions is full, a tenth of the sidecar's memory limit:
	// EvictIdlest forgets the session that was unused for the longest time, Reject refuses new sessions with the status 503. A person
	// whose session was forgotten logs in again; a session of subjectFrom begins again with the next request.
	// +optional
	WhenMemoryFull WhenMemoryFull `json:"whenMemoryFull,omitempty"`
	// Device binds a session to the device that logged in.
	// +optional
	Device *SessionDevice `json:"device,omitempty"`
	// SubjectFrom keeps sessions for tokens of jwt.providers as well: with sid one for each value of the claim sid, with sub one for each
	// subject. If it is unset, such tokens have no sessions.
	// +optional
	// +kubebuilder:validation:Enum=sid;sub
	SubjectFrom string `json:"subjectFrom,omitempty"`
	// OnFailure is what happens to requests with a session while the session store is unavailable: with Deny they get the status 503,
	// with Allow the session counts as active.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
	// Mode of this section: Enforce refuses requests, Shadow only counts and logs them.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// WhenFull is what happens at a login beyond maxPerSubject.
// +kubebuilder:validation:Enum=EvictOldest;Reject
type WhenFull string

const (
	// WhenFullEvict ends the oldest session.
	WhenFullEvict WhenFull = "EvictOldest"
	// WhenFullReject refuses the new one.
	WhenFullReject WhenFull = "Reject"
)

// WhenMemoryFull is what happens if the memory for sessions is full.
// +kubebuilder:validation:Enum=EvictIdlest;Reject
type WhenMemoryFull string

const (
	// WhenMemoryFullEvict forgets the idlest session.
	WhenMemoryFullEvict WhenMemoryFull = "EvictIdlest"
	// WhenMemoryFullReject refuses new sessions.
	WhenMemoryFullReject WhenMemoryFull = "Reject"
)

// SessionDevice binds sessions to devices.
type SessionDevice struct {
	// Bind is what must not change after the login: UserAgent is the browser and its system, Address is the client's address, None is
	// nothing.
	// +optional
	// +kubebuilder:validation:Enum=None;UserAgent;Address
	Bind string `json:"bind,omitempty"`
}

// Revocation refuses tokens before they expire: the policy's own tokens and those of jwt.providers. A revocation applies to every policy
// of the namespace that uses the same Redis. With tokens, or with backChannelLogout of a provider, revocation is on even without this
// section.
type Revocation struct {
	// MaxStaleness is how old the sidecar's list of revocations may be before onFailure applies.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('1s') && duration(self) <= duration('1h')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="maxStaleness is not between 1s and 1h: write a duration such as 5s"
	MaxStaleness Duration `json:"maxStaleness,omitempty"`
	// OnFailure is what happens if the list of revocations is older than maxStaleness: with Deny requests that need a token get the
	// status 503, with Allow the last known list is used.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
	// Mode of this section: Enforce refuses requests, Shadow only counts and logs them.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// BackChannelLogout lets a provider end sessions by OpenID Connect Back-Channel Logout 1.0. The path of the endpoint is
// tokens.endpoints.prefix followed by /backchannel-logout: /auth/backchannel-logout.
type BackChannelLogout struct {
	// ClientIDs are the client IDs of this app at the provider. The aud claim of the logout token must contain one of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	ClientIDs []string `json:"clientIDs,omitempty"`
	// AnyType also accepts logout tokens with typ JWT or without typ, which older providers send. Otherwise only logout+jwt is accepted.
	// +optional
	AnyType bool `json:"anyType,omitempty"`
}

// PasswordPolicy configures the loopback API with which the app hashes and verifies passwords, and the rules for new passwords.
type PasswordPolicy struct {
	// Mode of all rules: Enforce refuses passwords, Shadow only counts and logs the refusals.
	// +optional
	Mode Mode `json:"mode,omitempty"`
	// OnFailure is what happens to a new password while the old ones of rules.remember are unavailable: Deny responds with the status 503,
	// Allow judges it by the other rules. It has no effect without remember.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
	// Rules is what a new password must satisfy, on routes and when the loopback API hashes it. If rules and routes are unset, new
	// passwords are not judged.
	// +optional
	Rules *PasswordRules `json:"rules,omitempty"`
	// Routes are those on which the sidecar judges new passwords before the app gets the request. Every route that matches applies.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Routes []PasswordRoute `json:"routes,omitempty"`
	// Hash configures new hashes. When the API verifies a password with an older or weaker hash, it reports that the app should replace
	// the hash.
	// +optional
	Hash *PasswordHash `json:"hash,omitempty"`
	// LongBcryptPasswords is how a password of more than 72 bytes is verified with a hash of bcrypt, which ignores the rest. Refuse
	// responds with 422 password-too-long. Truncate compares the first 72 bytes, for old hashes of other software: every password with
	// these bytes matches. New hashes never ignore a part of the password.
	// +optional
	LongBcryptPasswords LongBcryptPasswords `json:"longBcryptPasswords,omitempty"`
}

// LongBcryptPasswords is how a password of more than 72 bytes is verified with a hash of bcrypt.
// +kubebuilder:validation:Enum=Refuse;Truncate
type LongBcryptPasswords string

const (
	// LongBcryptRefuse responds with 422.
	LongBcryptRefuse LongBcryptPasswords = "Refuse"
	// LongBcryptTruncate compares the first 72 bytes.
	LongBcryptTruncate LongBcryptPasswords = "Truncate"
)

// PasswordHash is an algorithm and its cost.
//
// +kubebuilder:validation:XValidation:rule="!has(self.argon2id) || !has(self.algorithm) || self.algorithm == 'Argon2id'",message="argon2id applies to algorithm Argon2id only: write algorithm: Argon2id, or remove argon2id"
// +kubebuilder:validation:XValidation:rule="!has(self.bcrypt) || (has(self.algorithm) && self.algorithm == 'Bcrypt')",message="bcrypt applies to algorithm Bcrypt only: write algorithm: Bcrypt, or remove bcrypt"
type PasswordHash struct {
	// Algorithm of new hashes: Argon2id or Bcrypt.
	// +optional
	// +kubebuilder:validation:Enum=Argon2id;Bcrypt
	Algorithm string `json:"algorithm,omitempty"`
	// Argon2id is the cost of Argon2id. The default is the minimum that OWASP recommends.
	// +optional
	Argon2id *Argon2idCost `json:"argon2id,omitempty"`
	// Bcrypt is the cost of bcrypt.
	// +optional
	Bcrypt *BcryptCost `json:"bcrypt,omitempty"`
}

// Argon2idCost is m, t and p of RFC 9106.
type Argon2idCost struct {
	// Memory that one hash uses, such as 19MiB.
	// +optional
	Memory Size `json:"memory,omitempty"`
	// Passes is the number of passes over the memory.
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

// BcryptCost is the cost of bcrypt.
type BcryptCost struct {
	// Cost is the base-2 logarithm of the number of rounds: each step up doubles the time.
	// +optional
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=15
	Cost int32 `json:"cost,omitempty"`
}
