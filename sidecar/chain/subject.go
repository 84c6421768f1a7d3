package chain

import (
	"github.com/posterndev/postern/sidecar/login/appapi"
	"github.com/posterndev/postern/sidecar/login/subject"
)

// subjectStores are the stores of the policy that hold data of persons, as far as the app's API has them.
func (b *builder) subjectStores(api appapi.Config, s tokenStages) subject.Stores {
	stores := subject.Stores{Shared: b.policy.Redis != nil, Now: b.now}
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
		stores.Logins = b.locks
	}
	if p := b.passwordPolicy(); p != nil && p.History != nil {
		stores.Passwords = p.History
	}
	return stores
}
