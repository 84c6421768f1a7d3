package compiled

import "errors"

// PasswordPolicy is the rules for new passwords, and the routes on which they apply. Lengths are in code points.
type PasswordPolicy struct {
	Mode      Mode `json:"mode"`
	MinLength int  `json:"minLength"`
	MaxLength int  `json:"maxLength"`
	// Common says that common passwords are refused.
	Common       bool     `json:"common,omitempty"`
	ContextWords []string `json:"contextWords,omitempty"`
	// MinScore is the lowest accepted score; 0 computes none.
	MinScore int `json:"minScore,omitempty"`
	// Breached is nil if no list is asked.
	Breached *BreachedPasswords `json:"breached,omitempty"`
	// History is nil if no old passwords and no dates are kept.
	History *PasswordHistory `json:"history,omitempty"`
	// Require lists Lower, Upper, Digit and Symbol.
	Require []string `json:"require,omitempty"`
	// Shadow lists the codes of the rules whose refusals are not enforced.
	Shadow []string        `json:"shadow,omitempty"`
	Routes []PasswordRoute `json:"routes,omitempty"`
}

// PasswordRoute is a route on which new passwords are judged.
type PasswordRoute struct {
	Match        []Match        `json:"match"`
	Password     PasswordField  `json:"password"`
	Confirmation *PasswordField `json:"confirmation,omitempty"`
	Account      *PasswordField `json:"account,omitempty"`
	// Optional lets requests without a password pass.
	Optional bool `json:"optional,omitempty"`
}

// PasswordField is a field of a body. JSON is a path with dots. One of both can be empty.
type PasswordField struct {
	JSON string `json:"json,omitempty"`
	Form string `json:"form,omitempty"`
}

func (p *PasswordPolicy) validate() error {
	if p.MinLength <= 0 || p.MaxLength < p.MinLength {
		return errors.New("minLength and maxLength are required, and maxLength is not less than minLength")
	}
	errs := []error{oneOf("mode", p.Mode, Enforce, Shadow)}
	if p.Breached != nil {
		errs = append(errs, p.Breached.validate())
	}
	if h := p.History; h != nil {
		errs = append(errs, h.validate())
	}
	for i, r := range p.Routes {
		if len(r.Match) == 0 || r.Password == (PasswordField{}) {
			errs = append(errs, wrap(errors.New("match and password are required"), "routes[%d]", i))
		}
	}
	return errors.Join(errs...)
}
