package chain

import (
	"context"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/keys/password"
	"github.com/posterndev/postern/sidecar/resources"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
)

// passwordHistory is nil if the policy has no rules about old passwords. Accounts are those of login protection.
func (b *builder) passwordHistory(in *compiled.PasswordHistory) *passwordpolicy.History {
	if in == nil {
		return nil
	}
	own := historyHash(b.policy.Passwords)
	hasher, err := b.hasher(own)
	b.fail(err, "passwordPolicy.rules.remember")
	apps := hasher
	if p := b.policy.Passwords; p != nil && p != own {
		apps, err = b.hasher(p)
		b.fail(err, "passwordPolicy")
	}
	h, err := passwordpolicy.NewHistory(passwordpolicy.HistoryConfig{
		Scope: resources.Scope(b.policy), Remember: in.Remember, MaxAge: in.MaxAge.Std(), AccountClaim: in.AccountClaim, Allow: in.OnFailure == compiled.Allow,
		Store: b.passwords, Hasher: hasher, AppHasher: apps, Canonical: loginprotection.Canonical, Logger: b.logger, Now: b.now,
	})
	b.fail(err, "passwordPolicy.rules")
	return h
}

// historyHash is the cost of the hashes of old passwords: that of the policy, so that both share their bounds of work. bcrypt would ignore a part
// of long passwords.
func historyHash(policy *compiled.Passwords) *compiled.Passwords {
	if policy != nil && policy.Algorithm != "Bcrypt" {
		return policy
	}
	cost := password.DefaultArgon2()
	return &compiled.Passwords{Algorithm: "Argon2id", Memory: int(cost.Memory), Passes: int(cost.Time), Parallelism: int(cost.Threads)}
}

// noPasswords is the store of old passwords of a chain that is only checked.
type noPasswords struct{}

func (noPasswords) Old(context.Context, string) ([]string, time.Duration, error) {
	return nil, 0, errNotRun
}

func (noPasswords) Add(context.Context, string, string, int, time.Duration) error { return errNotRun }

func (noPasswords) Look(context.Context, string) (passwordpolicy.Kept, error) {
	return passwordpolicy.Kept{}, errNotRun
}

func (noPasswords) Delete(context.Context, string) (bool, error) { return false, errNotRun }

func (noPasswords) Changed(context.Context, string) (time.Time, error) {
	return time.Time{}, errNotRun
}
