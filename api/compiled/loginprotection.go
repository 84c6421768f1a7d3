package compiled

import "errors"

// LoginProtection stops the guessing of passwords on some routes.
type LoginProtection struct {
	Routes     []LoginRoute `json:"routes"`
	PerAccount LoginLimit   `json:"perAccount"`
	PerAddress LoginLimit   `json:"perAddress"`
	Global     LoginLimit   `json:"global"`
	// Resets have no locks.
	ResetsPerAccount LoginLimit `json:"resetsPerAccount"`
	ResetsPerAddress LoginLimit `json:"resetsPerAddress"`
	// KnownDevices is nil if devices are not remembered.
	KnownDevices   *LoginLimit `json:"knownDevices,omitempty"`
	RememberDevice Duration    `json:"rememberDevice,omitempty"`
	// Challenge is nil if no challenge is asked for.
	Challenge *Challenge `json:"challenge,omitempty"`
	// Breached is nil if no list is asked. Its OnFailure is Allow.
	Breached *BreachedPasswords `json:"breached,omitempty"`
	// Response is Same or TooManyRequests.
	Response  string      `json:"response"`
	OnFailure FailureMode `json:"onFailure"`
	Mode      Mode        `json:"mode"`
}

// Challenge is verified by a service.
type Challenge struct {
	Header        string      `json:"header"`
	URL           string      `json:"url"`
	CABundle      string      `json:"caBundle,omitempty"`
	Secret        *SecretRef  `json:"secret"`
	Hostnames     []string    `json:"hostnames,omitempty"`
	Action        string      `json:"action,omitempty"`
	AfterFailures int         `json:"afterFailures,omitempty"`
	SendAddress   bool        `json:"sendAddress,omitempty"`
	Timeout       Duration    `json:"timeout"`
	InsecureHTTP  bool        `json:"insecureHTTP,omitempty"`
	OnFailure     FailureMode `json:"onFailure"`
}

// LoginLimit is a number of failures within a sliding window, and the lock that they cause: LockFor, twice as long for each further one,
// up to MaxLock. Without LockFor there is no lock.
type LoginLimit struct {
	Failures int      `json:"failures"`
	Within   Duration `json:"within"`
	LockFor  Duration `json:"lockFor,omitempty"`
	MaxLock  Duration `json:"maxLock,omitempty"`
}

// LoginRoute is a route on which the app checks a password, or sends a new one.
type LoginRoute struct {
	Name string `json:"name"`
	// Kind is Login or PasswordReset.
	Kind    string       `json:"kind"`
	Match   []Match      `json:"match"`
	Account RequestField `json:"account"`
	// Password is nil if it is not needed.
	Password *RequestField `json:"password,omitempty"`
	// FailureStatuses and FailureHeader are the signs of a wrong password.
	FailureStatuses []int          `json:"failureStatuses,omitempty"`
	FailureHeader   *FailureHeader `json:"failureHeader,omitempty"`
}

// FailureHeader is a response header whose value begins with Prefix.
type FailureHeader struct {
	Name   string `json:"name"`
	Prefix string `json:"prefix,omitempty"`
}

// RequestField is the place of a text in a request: JSON, Form or both for the body, or Header, or Basic for the user name of Basic
// authentication.
type RequestField struct {
	JSON   string `json:"json,omitempty"`
	Form   string `json:"form,omitempty"`
	Header string `json:"header,omitempty"`
	Basic  bool   `json:"basic,omitempty"`
}

func (p *LoginProtection) validate() error {
	switch {
	case p == nil:
		return nil
	case len(p.Routes) == 0:
		return errors.New("routes are required")
	case p.Response != "Same" && p.Response != "TooManyRequests":
		return errors.New("response must be Same or TooManyRequests")
	case p.KnownDevices != nil && p.RememberDevice <= 0:
		return errors.New("rememberDevice is required with knownDevices")
	}
	for i := range p.Routes {
		r := &p.Routes[i]
		switch {
		case r.Name == "" || len(r.Match) == 0 || r.Account == (RequestField{}):
			return errors.New("routes: name, match and account are required")
		case r.Kind != "Login" && r.Kind != "PasswordReset":
			return errors.New("routes: kind must be Login or PasswordReset")
		case r.Kind == "Login" && len(r.FailureStatuses) == 0 && r.FailureHeader == nil:
			return errors.New("routes: a login needs failureStatuses or failureHeader")
		}
	}
	if c := p.Challenge; c != nil {
		if c.Header == "" || c.URL == "" || c.Secret == nil || c.Timeout <= 0 {
			return errors.New("challenge: header, url, secret and timeout are required")
		}
		if err := oneOf("challenge.onFailure", c.OnFailure, Deny, Allow); err != nil {
			return err
		}
	}
	if p.Breached != nil {
		if err := p.Breached.validate(); err != nil {
			return err
		}
	}
	return errors.Join(oneOf("onFailure", p.OnFailure, Deny, Allow), oneOf("mode", p.Mode, Enforce, Shadow))
}
