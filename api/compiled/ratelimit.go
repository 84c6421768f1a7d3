package compiled

import (
	"errors"
	"fmt"
)

// LimitByClaim replaces a limit's rate for identities whose claim has one of the values; the first that it has applies.
type LimitByClaim struct {
	Claim  string       `json:"claim"`
	Values []ClaimLimit `json:"values"`
}

// ClaimLimit is the rate for one value of the claim.
type ClaimLimit struct {
	Value  string   `json:"value"`
	Limit  int      `json:"limit"`
	Period Duration `json:"period"`
	Burst  int      `json:"burst"`
}

// LimitExemption selects requests that a limit does not apply to: one match is enough.
type LimitExemption struct {
	// ClientAddresses are networks in CIDR notation.
	ClientAddresses []string         `json:"clientAddresses,omitempty"`
	Claims          []ClaimCondition `json:"claims,omitempty"`
}

// LimitCost is how much of a limit a request uses: exactly one field is set.
type LimitCost struct {
	// Requests is the number of requests as which one counts.
	Requests int `json:"requests,omitempty"`
	// ResponseJSON is the path of a number in the response's JSON, and ResponseHeader the name of a response header.
	ResponseJSON   string `json:"responseJSON,omitempty"`
	ResponseHeader string `json:"responseHeader,omitempty"`
}

// validateOptions checks the required fields of the limit's optional sections. Package check judges their values.
func (l *RateLimit) validateOptions() error {
	var errs []error
	if by := l.LimitByClaim; by != nil {
		if by.Claim == "" || len(by.Values) == 0 {
			errs = append(errs, errors.New("limitByClaim: claim and values are required"))
		}
		for i, v := range by.Values {
			if v.Value == "" || v.Limit < 1 || v.Period <= 0 || v.Burst < 1 {
				errs = append(errs, fmt.Errorf("limitByClaim.values[%d]: value, limit, period and burst are required", i))
			}
		}
	}
	if e := l.Exempt; e != nil && len(e.ClientAddresses) == 0 && len(e.Claims) == 0 {
		errs = append(errs, errors.New("exempt: clientAddresses or claims are required"))
	}
	if c := l.Cost; c != nil && c.Requests < 1 && c.ResponseJSON == "" && c.ResponseHeader == "" {
		errs = append(errs, errors.New("cost: requests, responseJSON or responseHeader is required"))
	}
	return errors.Join(errs...)
}
