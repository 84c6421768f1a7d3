package v1alpha1

// LoginProtection stops the guessing of passwords on the routes on which the app checks them. Failures are counted per account, per
// address and in all, exactly across all pods if the class has Redis. A lock grows with each further one, and always ends.
//
// +kubebuilder:validation:XValidation:rule="!has(self.breachedPasswords) || self.routes.all(r, has(r.password) || (has(r.kind) && r.kind == 'PasswordReset'))",message="breachedPasswords needs the place of the password on each route of kind Login: write password: {json: password}"
// +kubebuilder:validation:XValidation:rule="!has(self.breachedPasswords) || !has(self.breachedPasswords.onFailure) || self.breachedPasswords.onFailure != 'Deny'",message="no login is refused because of breachedPasswords: remove its onFailure"
type LoginProtection struct {
	// Routes are those on which the app checks a password, or sends a new one.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Routes []LoginRoute `json:"routes"`

	// PerAccount is how many failures one account may have. Accounts that do not exist count like others. A correct login clears the
	// account's failures.
	// +optional
	PerAccount LoginLimit `json:"perAccount,omitempty"`

	// PerAddress is how many failures one client address, or IPv6 /64, may have for all accounts together.
	// +optional
	PerAddress LoginLimit `json:"perAddress,omitempty"`

	// Global is how many failures of all accounts and addresses together are an attack. Reaching it locks nobody out: it is counted in
	// postern_login_lockouts_total, and logged.
	// +optional
	Global GlobalLoginLimit `json:"global,omitempty"`

	// Resets limit the requests for a new password, on the routes of kind PasswordReset.
	// +optional
	Resets PasswordResets `json:"resets,omitempty"`

	// KnownDevices give a browser from which the account has logged in before failures of its own, so that an attacker cannot lock the
	// owner out. The browser is known by a signed cookie.
	// +optional
	KnownDevices KnownDevices `json:"knownDevices,omitempty"`

	// Challenge asks a client to solve a CAPTCHA or a proof of work before it may try again, which a service such as Turnstile, hCaptcha or
	// reCAPTCHA verifies.
	// +optional
	Challenge *Challenge `json:"challenge,omitempty"`

	// BreachedPasswords tells the app that the password of an attempt is known from data breaches, with the request header
	// Postern-Password-Breached: true, so that it can ask for another one. No login is refused because of it. If it is unset, no password is
	// looked up.
	// +optional
	BreachedPasswords *BreachedPasswords `json:"breachedPasswords,omitempty"`

	// Response is what a refused attempt gets: Same is the app's own latest response to a wrong password on this route, so that a client
	// cannot tell a lock from a wrong password, and TooManyRequests is 429. The attempt does not reach the app in either case.
	// +optional
	Response LoginResponse `json:"response,omitempty"`

	// OnFailure is what happens while Redis is unavailable: Deny refuses attempts with 503, and Allow counts in each pod by itself.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`

	// Mode: Enforce refuses attempts, Shadow only counts and logs them.
	// +optional
	Mode Mode `json:"mode,omitempty"`
}

// LoginResponse is the response to a refused attempt.
// +kubebuilder:validation:Enum=Same;TooManyRequests
type LoginResponse string

const (
	// LoginResponseSame is the app's response to a wrong password.
	LoginResponseSame LoginResponse = "Same"
	// LoginResponseTooManyRequests is 429.
	LoginResponseTooManyRequests LoginResponse = "TooManyRequests"
)

// LoginRouteKind is what a route does.
// +kubebuilder:validation:Enum=Login;PasswordReset
type LoginRouteKind string

const (
	// LoginRouteLogin checks a password.
	LoginRouteLogin LoginRouteKind = "Login"
	// LoginRoutePasswordReset sends a new password, or a link.
	LoginRoutePasswordReset LoginRouteKind = "PasswordReset"
)

// LoginRoute is a route on which the app checks a password, or sends a new one.
//
// +kubebuilder:validation:XValidation:rule="!has(self.failure) || !has(self.kind) || self.kind != 'PasswordReset'",message="every request for a new password counts: remove failure"
// +kubebuilder:validation:XValidation:rule="!has(self.password) || !has(self.kind) || self.kind != 'PasswordReset'",message="a request for a new password has none: remove password"
type LoginRoute struct {
	// Name of the route in logs and metrics.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule=`self.matches(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")`,message="not a name: write lower-case letters, digits and hyphens inside, such as corp-login"
	Name string `json:"name"`
	// Kind is what the route does: Login checks a password, PasswordReset sends a new one.
	// +optional
	Kind LoginRouteKind `json:"kind,omitempty"`
	// Match selects requests: one match is enough.
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Match []RouteMatch `json:"match"`
	// Account is where the request names the account.
	Account RequestField `json:"account"`
	// Password is where the request has the password, for breachedPasswords. basicAuth is the password of Basic authentication here.
	// +optional
	Password *RequestField `json:"password,omitempty"`
	// Failure says how a wrong password is known.
	// +optional
	Failure *LoginFailure `json:"failure,omitempty"`
}

// LoginFailure says which responses of the app are about a wrong password.
//
// +kubebuilder:validation:XValidation:rule="has(self.statuses) || has(self.header)",message="failure says nothing: write statuses: [401], or header: {name: Location, prefix: /login}"
type LoginFailure struct {
	// Statuses of the response.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Minimum=200
	// +kubebuilder:validation:items:Maximum=599
	Statuses []int32 `json:"statuses,omitempty"`
	// Header of the response, for apps that redirect in both cases.
	// +optional
	Header *ResponseHeaderMatch `json:"header,omitempty"`
}

// ResponseHeaderMatch matches a header of the app's response.
type ResponseHeaderMatch struct {
	// Name of the header, such as Location.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
	// Prefix of its value, such as /login?error. If it is unset, the header must only be there.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Prefix string `json:"prefix,omitempty"`
}

// RequestField is the place of a text in a request: in its body as JSON or as a form, in a header, or the user name of Basic
// authentication. json and form can be given together, for routes that accept both.
//
// +kubebuilder:validation:XValidation:rule="[has(self.json) || has(self.form), has(self.header), has(self.basicAuth) && self.basicAuth].filter(x, x).size() == 1",message="write where the text is: json, form or both, or header, or basicAuth, such as {json: email}"
type RequestField struct {
	// JSON is a path of members with dots: email, user.email.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	JSON string `json:"json,omitempty"`
	// Form is the name of a form's field.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Form string `json:"form,omitempty"`
	// Header is the name of a header.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Header string `json:"header,omitempty"`
	// BasicAuth is the user name of Basic authentication.
	// +optional
	BasicAuth bool `json:"basicAuth,omitempty"`
}

// LoginLimit is a number of failures, and the lock that they cause.
type LoginLimit struct {
	// Failures within the window cause a lock.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Failures int32 `json:"failures,omitempty"`
	// Within is the sliding window in which failures count.
	// +optional
	Within Duration `json:"within,omitempty"`
	// LockFor is how long the first lock lasts. Each further one lasts twice as long.
	// +optional
	LockFor Duration `json:"lockFor,omitempty"`
	// MaxLock is how long a lock lasts at most. A lock is forgotten that long after its end.
	// +optional
	MaxLock Duration `json:"maxLock,omitempty"`
}

// GlobalLoginLimit is a number of failures.
type GlobalLoginLimit struct {
	// Failures within the window are an attack.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Failures int32 `json:"failures,omitempty"`
	// Within is the sliding window in which failures count.
	// +optional
	Within Duration `json:"within,omitempty"`
}

// PasswordResets limit the requests for a new password. They are answered alike whether the account exists.
type PasswordResets struct {
	// PerAccount is the rate for one account, such as 3/hour.
	// +optional
	PerAccount Rate `json:"perAccount,omitempty"`
	// PerAddress is the rate for one client address, or IPv6 /64, such as 10/hour.
	// +optional
	PerAddress Rate `json:"perAddress,omitempty"`
}

// Challenge is verified by a POST of the secret and the client's token to a service (siteverify).
//
// +kubebuilder:validation:XValidation:rule="!self.url.startsWith('http:') || (has(self.insecureHTTP) && self.insecureHTTP)",message="url is a plain http URL, so anyone on the network can read the secret and forge the result: write https, or insecureHTTP: true for a server inside the cluster"
type Challenge struct {
	// Header is the request header in which the client sends its token. The app does not see it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Header string `json:"header,omitempty"`
	// URL of the service, such as https://challenges.cloudflare.com/turnstile/v0/siteverify.
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^https?://[^/?#@ ]+([/?][^# ]*)?$')",message="url is not an https URL without user information and fragment: write https://challenges.cloudflare.com/turnstile/v0/siteverify"
	URL string `json:"url"`
	// CABundle contains the CA certificates, in PEM, that verify the service at url, in place of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
	// SecretRef is the site's secret at the service.
	SecretRef SecretRef `json:"secretRef"`
	// Hostnames are the sites whose challenges count. If it is unset, those of every site with this secret do.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Hostnames []string `json:"hostnames,omitempty"`
	// Action is the action that the page names. If it is unset, every action counts.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Action string `json:"action,omitempty"`
	// AfterFailures is from how many failures of the account on an attempt needs a solved challenge; 0 for every attempt.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	AfterFailures *int32 `json:"afterFailures,omitempty"`
	// SendAddress tells the service the client's address.
	// +optional
	SendAddress bool `json:"sendAddress,omitempty"`
	// Timeout of one request to the service, at most 10s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="(duration(self) >= duration('100ms') && duration(self) <= duration('10s')) || !self.matches('^([0-9]{1,9}(ms|s|m|h))+$')",message="timeout is not between 100ms and 10s: write a duration such as 2s"
	Timeout Duration `json:"timeout,omitempty"`
	// InsecureHTTP accepts an http URL. Anyone who can change the traffic can then read the secret and forge results.
	// +optional
	InsecureHTTP bool `json:"insecureHTTP,omitempty"`
	// OnFailure is what happens while the service is unavailable: Deny refuses attempts that need a challenge with 503, and Allow lets them try;
	// the other limits hold.
	// +optional
	OnFailure FailureMode `json:"onFailure,omitempty"`
}

// KnownDevices are browsers from which an account has logged in.
type KnownDevices struct {
	// Failures of one device and account within perAccount.within are allowed, whether or not the account is locked. 0 remembers no
	// devices.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Failures *int32 `json:"failures,omitempty"`
	// RememberFor is how long a device is known after its last login.
	// +optional
	RememberFor Duration `json:"rememberFor,omitempty"`
}
