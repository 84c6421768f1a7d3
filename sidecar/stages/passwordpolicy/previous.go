package passwordpolicy

import (
	"context"
	"errors"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/keys/password"
)

// CheckPrevious judges a password that the loopback API is asked to hash by the hashes of the account's former passwords, the latest
// first. It returns nil, the refusal, or an error of password.Hasher, which shadow mode ignores. Without Remember it ignores them.
func (p *Policy) CheckPrevious(ctx context.Context, text string, previous []string) error {
	if p.History == nil {
		return nil
	}
	for _, encoded := range previous[:min(len(previous), p.History.Remember)] {
		result, err := p.compare(ctx, text, encoded)
		switch {
		case errors.Is(err, password.ErrTooLongForBcrypt): // no password of bcrypt's is as long
		case err != nil && (p.PolicyShadow || p.rule(Reused).Shadow):
			p.History.Logger.WarnContext(ctx, "the hash of a former password is not compared", "error", err)
		case err != nil:
			return err
		case result.Match:
			return p.verdict([]httperr.FieldError{reusedIn("password")}, nil, p.recordOutside(ctx))
		}
	}
	return nil
}

// compare compares a password with a hash of the app's.
func (p *Policy) compare(ctx context.Context, text, encoded string) (password.Result, error) {
	if encoded == "" { // Verify would compute the hash of no account
		return password.Result{}, password.ErrMalformed
	}
	return p.History.AppHasher.Verify(ctx, text, encoded)
}
