package compile

import (
	"fmt"

	"github.com/posterndev/postern/api/check/expression"
	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func (c *compiler) authorization(spec *v1alpha1.SecurityPolicySpec) compiled.Authorization {
	a := compiled.Authorization{Default: compiled.Requirement(spec.Authorization.Default), Mode: compiled.Mode(spec.Authorization.Mode)}
	a.CacheControl = string(spec.Authorization.CacheControl)
	for i := range spec.Authorization.Rules {
		r := &spec.Authorization.Rules[i]
		a.Rules = append(a.Rules, compiled.AuthorizationRule{
			Name: r.Name, Match: matches(r.Match), Require: compiled.Requirement(r.Require), Mode: compiled.Mode(r.Mode),
			Conditions: conditions(&r.AuthorizationConditions),
		})
		c.needsProvider(spec, fmt.Sprintf("spec.authorization.rules[%d].require", i), r.Require)
	}
	c.needsProvider(spec, "spec.authorization.default", v1alpha1.Requirement(a.Default))
	return a
}

func (c *compiler) needsProvider(spec *v1alpha1.SecurityPolicySpec, field string, r v1alpha1.Requirement) {
	if spec.JWT == nil && spec.Tokens == nil && spec.APIKeys == nil && !spec.TLS.Identifies() && r == v1alpha1.RequireAuthenticated {
		c.errorf(field, "Authenticated needs a jwt, a tokens or an apiKeys section, or an identity of tls.clientCertificates, to authenticate with: add jwt.providers, or for client certificates tls.clientCertificates.identity with mode: Optional or Require, or write Anonymous or Deny")
	}
}

func conditions(in *v1alpha1.AuthorizationConditions) compiled.Conditions {
	out := compiled.Conditions{
		Scopes: (*compiled.ClaimMembers)(in.Scopes), Providers: in.Providers, ClientAddresses: in.ClientAddresses,
		NotClientAddresses: in.NotClientAddresses, Hosts: in.Hosts, Expression: in.Expression,
	}
	for _, claim := range in.Claims {
		out.Claims = append(out.Claims, compiled.ClaimCondition{Claim: claim.Claim, ClaimMembers: compiled.ClaimMembers{All: claim.All, Any: claim.Any}})
	}
	for _, h := range in.Headers {
		out.Headers = append(out.Headers, compiled.HeaderCondition(h))
	}
	return out
}

// suspectAddresses: without trusted proxies, the client's address is the peer address of the connection. Behind an ingress it is the
// ingress's, so that a rule for addresses of the cluster lets everybody pass.
func (c *compiler) suspectAddresses(rules []compiled.AuthorizationRule) {
	for i := range rules {
		name := "clientAddresses"
		if len(rules[i].ClientAddresses) == 0 {
			name = "notClientAddresses"
		}
		if len(rules[i].ClientAddresses)+len(rules[i].NotClientAddresses) > 0 {
			c.warnf(fmt.Sprintf("spec.authorization.rules[%d].%s", i, name), "the SidecarClass has no trustedProxies, so behind an ingress or a load balancer all clients have its "+
				"address, and a rule for addresses of the cluster lets everybody pass: add its networks to spec.trustedProxies of the SidecarClass, such as 10.0.0.0/8")
			return // one warning for all rules, because one change fixes all
		}
	}
}

// suspectAnonymous: a request without a token has no claims, so a condition that needs one refuses it with a 403 that no token is asked for.
func (c *compiler) suspectAnonymous(rules []compiled.AuthorizationRule) {
	for i := range rules {
		r := &rules[i]
		if r.Require != compiled.RequireAnonymous || r.Expression == "" {
			continue
		}
		if program, err := expression.Compile(r.Expression); err == nil && !program.Anonymous() {
			c.warnf(fmt.Sprintf("spec.authorization.rules[%d].require", i), "the expression needs a claim, and a request without a token has none, so it gets a 403, which asks for no token: "+
				"write require: Authenticated, or let the expression hold without the claim, such as !has(claims.tenant) || claims.tenant == \"acme\"")
		}
	}
}
