package chain

import (
	"context"

	"github.com/posterndev/postern/sidecar/login/appapi"
	"github.com/posterndev/postern/sidecar/login/subject"
	"github.com/posterndev/postern/sidecar/stages/loginprotection"
)

// subjectStores are the stores of the policy that hold data of persons, as far as the app's API has them.
func (b *builder) subjectStores(api appapi.Config, s tokenStages) subject.Stores {
	stores := subject.Stores{Shared: b.policy.Redis != nil, Now: b.now}
	stores.Canonical = loginprotection.Canonical
	if t := b.policy.Tokens; t != nil {
		stores.OwnIssuer = t.Issuer
	}
	if api.SessionManager != nil {
		stores.Sessions = s.sessionManager
	}
	if b.index != nil && api.Revoker != nil {
		stores.Revocations = b.index
	}
	if b.locks != nil {
		stores.Logins = subjectLogins{b.locks}
	}
	if p := b.passwordPolicy(); p != nil && p.History != nil {
		stores.Passwords = p.History
	}
	return stores
}

// subjectLogins are the locks of accounts as subject.Logins.
type subjectLogins struct{ *loginprotection.Locks }

func (l subjectLogins) Look(ctx context.Context, account string) (logins, resets subject.Attempts, err error) {
	of, asked, err := l.Locks.Look(ctx, account)
	return subject.Attempts(of), subject.Attempts(asked), err
}
