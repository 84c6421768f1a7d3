package passwordpolicy

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
)

// reused reports whether a password is one of the account's last ones. Only the caller who has a token of the account learns it.
func (p *Policy) reused(ctx context.Context, c *change, record recorder) error {
	h := p.History
	if h.Remember == 0 || !c.own {
		return nil
	}
	old, wait, err := h.Store.Old(ctx, h.key(c.account))
	if err == nil && wait > 0 {
		e := &httperr.Error{Status: http.StatusTooManyRequests, Code: "too-many-passwords", Detail: "Too many new passwords were tried. Try again later."}
		return p.enforce(Reused, e.With("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second))), record)
	}
	match := false
	if err == nil {
		match, err = h.matches(ctx, c.password, old[:min(len(old), h.Remember)])
	}
	switch {
	case match:
		return p.verdict([]httperr.FieldError{reusedIn(c.field)}, nil, record)
	case err != nil:
		return p.historyUnavailable(err, record)
	}
	return nil
}

// matches compares a password with hashes until one matches. Hashes that the policy's memory no longer suffices for are left out, because
// their owner could never change the password again.
func (h *History) matches(ctx context.Context, text string, hashes []string) (bool, error) {
	for _, encoded := range hashes {
		result, err := h.Hasher.Verify(ctx, text, encoded)
		switch {
		case errors.Is(err, password.ErrTooCostly), errors.Is(err, password.ErrMalformed):
			h.Logger.WarnContext(ctx, "the hash of an old password is not compared", "error", err)
		case err != nil:
			return false, err
		case result.Match:
			return true, nil
		}
	}
	return false, nil
}

func reusedIn(field string) httperr.FieldError {
	return httperr.FieldError{Field: field, Code: string(Reused), Detail: "The password was used before. Choose another one."}
}

func (p *Policy) historyUnavailable(err error, record recorder) error {
	retry := 5 * time.Second
	if errors.Is(err, password.ErrBusy) {
		retry = password.RetryAfter(err)
	}
	e := &httperr.Error{Status: http.StatusServiceUnavailable, Code: "password-check-unavailable", Detail: "The password cannot be checked now. Try again.", Cause: err}
	e = e.With("Retry-After", strconv.Itoa(int(retry/time.Second)))
	rule := p.rule(Reused)
	rule.Shadow = rule.Shadow || p.History.Allow // recorded, so that the metrics show it
	if record(rule, e) {
		return e
	}
	return nil
}

// enforce records a refusal, and returns it if it is enforced.
func (p *Policy) enforce(code passwordrules.Code, e *httperr.Error, record recorder) error {
	if record(p.rule(code), e) {
		return e
	}
	return nil
}
