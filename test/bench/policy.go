package main

import (
	"fmt"
	"strings"
)

// passing is a policy without rules. It measures the proxy with its guards.
const passing = `
apiVersion: postern.dev/v1alpha1
kind: SidecarClass
metadata: {name: default, annotations: {postern.dev/is-default-class: "true"}}
spec: {accessLog: Errors}
---
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: bench}
spec: {selector: {}}
`

// tenant is the issuer of the tokens. Every request names it in X-Tenant, which the expression compares with the claim.
const tenant = "https://bench.example.com"

// withExpression is guarded with a rule for the request that is measured, like the one in docs/authorization.md.
func withExpression(redis string) string {
	return guarded(redis, "Errors") + `    - name: tenant
      match: [{methods: [GET], paths: [/healthz]}]
      expression: 'request.segments[0] != "0" && claims.iss == request.headers["x-tenant"]'
`
}

// guarded is a policy with tokens, sessions and revocation, like config/samples/tokens.yaml.
func guarded(redis, accessLog string) string {
	return fmt.Sprintf(`
apiVersion: postern.dev/v1alpha1
kind: SidecarClass
metadata: {name: default, annotations: {postern.dev/is-default-class: "true"}}
spec:
  accessLog: %s
  redis: {mode: Standalone, addresses: ["%s"]}
---
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: bench}
spec:
  selector: {}
  tokens:
    issuer: %s
    audiences: [bench]
    signingKey: {secretKeyRef: {name: key, key: key.pem}}
    login: [{methods: [POST], paths: [/login]}]
    claimsToHeaders: [{claim: sub, header: X-Auth-Subject}]
  sessions: {}
  revocation: {}
  authorization:
    rules:
    - {name: login, match: [{methods: [POST], paths: [/login]}], require: Anonymous}
`, accessLog, redis, tenant)
}

// withAPIKey accepts API keys in place of tokens. The class and its Redis are those of guarded.
func withAPIKey(redis string) string {
	class, _, _ := strings.Cut(guarded(redis, "Errors"), "---\n")
	return class + `---
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: bench}
spec:
  selector: {}
  apiKeys: {keysRef: {secretKeyRef: {name: key, key: keys.yaml}}}
  revocation: {}
  authorization: {default: Authenticated}
`
}

// withLoginProtection is guarded, with the login route protected.
func withLoginProtection(redis string) string {
	return guarded(redis, "Errors") + `  loginProtection:
    routes: [{name: login, match: [{methods: [POST], paths: [/login]}], account: {json: user}}]
`
}
