package main

import (
	"fmt"
	"strings"
)

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
func provider(issuer, keys string) string {
	return "  jwt:\n    providers:\n" + providerEntry("main", issuer, keys)
}

func providerEntry(name, issuer, keys string) string {
	return fmt.Sprintf("    - {name: %s, issuer: %q, audiences: [%s], algorithms: [RS256, ES256], maxLifetime: 4h, jwks: {inline: '%s'}}\n",
		name, issuer, tokenAudience, keys)
}

// manyProviders has n providers, of which the last is the issuer.
func manyProviders(n int, issuer, keys string) string {
	var out strings.Builder
	out.WriteString("  jwt:\n    providers:\n")
	for i := range n - 1 {
		name := fmt.Sprintf("other-%d", i)
		out.WriteString(providerEntry(name, "https://"+name+".example.com", keys))
	}
	out.WriteString(providerEntry("main", issuer, keys))
	return out.String()
}

// manyRoutes has n patterns, in as few rules as the API allows and at least one for each sixteen patterns. The last one is lastRoute.
func manyRoutes(n int) string {
	const rules = 60
	var out strings.Builder
	out.WriteString("  authorization:\n    rules:\n")
	each := (n + rules - 1) / rules
	for first := 0; first < n; first += each {
		var paths []string
		for i := first; i < min(first+each, n); i++ {
			path := fmt.Sprintf("/service-%d/*/items", i)
			if i == n-1 {
				path = lastRoute
			}
			paths = append(paths, path)
		}
		fmt.Fprintf(&out, "    - {name: rule-%d, match: [{methods: [GET], paths: [%q]}], require: Authenticated}\n", first, strings.Join(paths, `", "`))
	}
	return strings.ReplaceAll(out.String(), `\"`, `"`)
}

// lastRoute is the path of the requests to manyRoutes.
const lastRoute = "/last/*/items"

// withTLS serves TLS with the certificate in the folder of Secrets.
const withTLS = `  tls:
    mode: Require
    certificates: [{secretRef: {name: bench-tls}}]
    minVersion: "1.3"
`

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
