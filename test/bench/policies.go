package main

import "fmt"

// The policies of the request rows. Without redis in the class, a sidecar keeps sessions, limits and revocations in memory.

// policyOf returns a class and a policy. class and spec are indented YAML.
func policyOf(class, spec string) string {
	return fmt.Sprintf(`
apiVersion: postern.dev/v1alpha1
kind: SidecarClass
metadata: {name: default, annotations: {postern.dev/is-default-class: "true"}}
spec:
  accessLog: Errors
%s---
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: bench}
spec:
  selector: {}
%s`, class, spec)
}

// provider accepts the tokens of the external issuer.
func provider(keys string) string {
	return fmt.Sprintf(`  jwt:
    providers:
    - {name: main, issuer: %q, audiences: [%s], algorithms: [RS256, ES256], maxLifetime: 4h, jwks: {inline: '%s'}}
`, issuer, audience, keys)
}

// everything is what a policy with all the usual sections has beside its provider.
const everything = `  sessions: {subjectFrom: sid}
  revocation: {}
  rateLimits:
  - {name: client, limit: 60000000/minute, burst: 1000000, keyBy: [{type: ClientAddress}]}
  - {name: user, limit: 60000000/minute, burst: 1000000, keyBy: [{type: Subject}]}
  headers: {preset: API}
  cors: {allowOrigins: ["https://shop.example.com"], allowMethods: [GET, POST], allowHeaders: [Content-Type]}
`

// oneLimit is everything with one limit, which Redis makes exact across pods.
const oneLimit = `  sessions: {subjectFrom: sid}
  revocation: {}
  rateLimits:
  - {name: user, limit: 60000000/minute, burst: 1000000, keyBy: [{type: Subject}]}
  headers: {preset: API}
  cors: {allowOrigins: ["https://shop.example.com"], allowMethods: [GET, POST], allowHeaders: [Content-Type]}
`

func redisClass(address string) string {
	return fmt.Sprintf("  redis: {mode: Standalone, addresses: [%q]}\n", address)
}
