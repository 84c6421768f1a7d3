package passwordpolicy

import (
	"context"
	"net/http"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

// Source counts how often a password is in a list of breached passwords. Its errors contain nothing of the password.
type Source interface {
	Count(ctx context.Context, password string) (int, error)
}

// BreachedList is a list of breached passwords.
type BreachedList struct {
	Source Source
	// MinCount is how often a password must be in the list to be refused.
	MinCount int
	// Allow passes passwords while the list is unavailable. Otherwise they are refused with 503.
	Allow bool
}

// lookUp returns the failure of a password that is in the list, and the refusal if the list is unavailable and that is enforced.
// Passwords that are refused anyway for being empty or too long are not looked up.
func (p *Policy) lookUp(ctx context.Context, field, password string, record recorder) ([]httperr.FieldError, *httperr.Error) {
	if p.Breached == nil || password == "" || len(password) > passwordrules.MaxBytes {
		return nil, nil
	}
	count, err := p.Breached.Source.Count(ctx, password)
	if err != nil {
		rule := p.rule(Breached)
		rule.Shadow = rule.Shadow || p.Breached.Allow // recorded, so that the metrics show it
		e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "password-check-unavailable", Detail: "The password cannot be checked now. Try again.", Cause: err}
		if e = e.With("Retry-After", "5"); record(rule, e) {
			return nil, e
		}
		return nil, nil
	}
	if count < p.Breached.MinCount {
		return nil, nil
	}
	return []httperr.FieldError{{Field: field, Code: string(Breached), Detail: "The password is known from a data breach. Do not use it anywhere."}}, nil
}
