package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/login/endpoints"
	"github.com/posterndev/postern/sidecar/login/renewal"
	"github.com/posterndev/postern/sidecar/login/transport"
	"github.com/posterndev/postern/sidecar/stages/authn"
)

// automatic is the value of tokens.cookie.renewal with which requests are renewed in passing.
const automatic = "Automatic"

// renewal returns the stage that renews access tokens in passing; nil if the policy does not ask for it.
func (b *builder) renewal() stage.Stage {
	t := b.policy.Tokens
	if t == nil || t.Renewal != automatic || transport.Delivery(t.Delivery) != transport.Cookie {
		return nil
	}
	tokens := b.tokens()
	providers := b.providers()
	if len(b.errs) > 0 {
		return nil
	}
	sent, err := authn.Sent(providers, b.accessCookie())
	b.fail(err, "tokens.cookie.renewal")
	// The login routes end the session of the refresh token, and need no identity.
	skip := append([]compiled.Match{{Paths: endpoints.RefreshPaths(t.Prefix, tokens.metadata)}}, t.Login...)
	s, err := renewal.New(renewal.Config{
		LoginService: tokens.loginService, TokenTransport: tokens.cookies, Skip: b.match(skip, "tokens.cookie.renewal"), OtherToken: sent,
		Leeway: t.Leeway.Std(), Realm: b.policy.Name, Now: b.now,
	})
	b.fail(err, "tokens.cookie.renewal")
	return s
}
