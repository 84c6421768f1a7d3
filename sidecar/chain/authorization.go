package chain

import (
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/identity"
	"github.com/posterndev/postern/sidecar/httpkit/stage"
	"github.com/posterndev/postern/sidecar/stages/authn"
	"github.com/posterndev/postern/sidecar/stages/authz"
)

// Names of the rules that come with tokens. ownRule opens the sidecar's own endpoints, which authenticate requests themselves.
// loginRule opens the login routes of the app, whose users have no token yet.
const (
	ownRule   = "postern"
	loginRule = "postern-login"
)

// authz adds a first rule that opens the paths of the sidecar's own endpoints. The routes of tokens.login are open unless a rule
// of the policy matches them first.
func (b *builder) authz() stage.Stage {
	a := &b.policy.Authorization
	c := authz.Config{Default: requirement(a.Default), Shadow: a.Mode == compiled.Shadow, Realm: b.policy.Name, NoStore: a.CacheControl == "NoStore", ProofChallenge: authn.Challenge(b.accepted), Challenges: b.apiKeyChallenges(),
		Credentials: b.credentials()}
	if open := b.tokens().paths; len(open) > 0 {
		match := b.match([]compiled.Match{{Paths: open}}, "tokens.endpoints.prefix")
		c.Rules = append(c.Rules, authz.Rule{Name: ownRule, Match: match, Require: authz.Anonymous, Exact: true})
	}
	expressions := b.expressions()
	for i := range a.Rules {
		r := &a.Rules[i]
		rule := authz.Rule{
			Name: r.Name, Match: b.match(r.Match, "authorization.rules[%d]", i), Require: requirement(r.Require),
			Shadow: r.Mode == compiled.Shadow || c.Shadow, Conditions: ruleConditions(&r.Conditions),
		}
		if r.Expression != "" {
			rule.Expression = condition(expressions[i])
		}
		c.Rules = append(c.Rules, rule)
	}
	if t := b.policy.Tokens; t != nil && len(t.Login) > 0 {
		c.Rules = append(c.Rules, authz.Rule{Name: loginRule, Match: b.match(t.Login, "tokens.login"), Require: authz.Anonymous, Shadow: c.Shadow})
	}
	s, err := authz.New(c)
	b.fail(err, "authorization")
	return s
}

// credentials names what identifies a caller in this policy.
func (b *builder) credentials() (names []string) {
	p := b.policy
	if len(p.Providers) > 0 || p.Tokens != nil {
		names = append(names, "a token")
	}
	if a := p.APIKeys; a != nil && a.Keys != nil {
		names = append(names, "an API key")
	}
	if a := p.APIKeys; a != nil && a.Users != nil {
		names = append(names, "a name and a password")
	}
	if t := p.TLS; t != nil && t.ClientCertificates != nil && t.ClientCertificates.Identity != "" {
		names = append(names, "a client certificate")
	}
	return names
}

func ruleConditions(in *compiled.Conditions) authz.Conditions {
	out := authz.Conditions{
		Scopes: (*identity.Members)(in.Scopes), Providers: in.Providers, ClientAddresses: in.ClientAddresses,
		NotClientAddresses: in.NotClientAddresses, Hosts: in.Hosts,
	}
	for _, claim := range in.Claims {
		out.Claims = append(out.Claims, authz.Claim{Path: claim.Claim, Members: identity.Members(claim.ClaimMembers)})
	}
	for _, h := range in.Headers {
		out.Headers = append(out.Headers, authz.Header(h))
	}
	return out
}

// conditionHeaders returns the header fields that conditions of authorization rules read, expressions included.
func (b *builder) conditionHeaders() []string {
	var names []string
	for i := range b.policy.Authorization.Rules {
		for _, h := range b.policy.Authorization.Rules[i].Headers {
			names = append(names, h.Name)
		}
	}
	for _, program := range b.expressions() {
		if program != nil {
			names = append(names, program.Headers()...)
		}
	}
	return names
}
