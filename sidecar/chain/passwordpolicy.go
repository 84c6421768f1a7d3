package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/reqbody"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/keys/passwordrules"
	"github.com/posterndev/postern/sidecar/stages/passwordpolicy"
)

// passwordStage is the step password-policy.
func (b *builder) passwordStage() stage.Stage {
	if p := b.passwordPolicy(); p != nil {
		return p.Stage()
	}
	return nil
}

func (b *builder) newPasswordPolicy() *passwordpolicy.Policy {
	in := b.policy.PasswordPolicy
	if in == nil {
		return nil
	}
	c := passwordpolicy.Config{
		Rules: passwordrules.Rules{
			MinLength: in.MinLength, MaxLength: in.MaxLength, Blocklist: in.Common, ContextWords: in.ContextWords, MinScore: in.MinScore, Require: in.Require,
		},
		Shadow: in.Mode == compiled.Shadow, PolicyShadow: b.policy.Mode == compiled.Shadow, Events: b.events,
	}
	if l := in.Breached; l != nil {
		source, err := b.breached(l)
		b.fail(err, "passwordPolicy.breached")
		c.Breached = &passwordpolicy.BreachedList{Source: source, MinCount: l.MinCount, Allow: l.OnFailure == compiled.Allow}
	}
	c.History = b.passwordHistory(in.History)
	for _, code := range in.Shadow {
		c.ShadowRules = append(c.ShadowRules, passwordrules.Code(code))
	}
	for i := range in.Routes {
		r := &in.Routes[i]
		c.Routes = append(c.Routes, passwordpolicy.Route{
			Match: b.match(r.Match, "passwordPolicy.routes[%d]", i), Password: *b.bodyField(&r.Password),
			Confirmation: b.bodyField(r.Confirmation), Account: b.bodyField(r.Account), Optional: r.Optional,
		})
	}
	p, err := passwordpolicy.New(c)
	b.fail(err, "passwordPolicy")
	return p
}

func (b *builder) bodyField(in *compiled.PasswordField) *reqbody.Selector {
	if in == nil {
		return nil
	}
	s := &reqbody.Selector{Form: in.Form}
	if in.JSON != "" {
		var err error
		s.JSON, err = reqbody.ParsePath(in.JSON)
		b.fail(err, "passwordPolicy.routes")
	}
	return s
}
