package v1alpha1_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/manifest"
)

// A validation is a manifest's spec that the CRD must accept, or refuse with a message.
type validation struct {
	kind, spec string
	// wantErr is a part of the message; empty where the object is good.
	wantErr string
}

const jwt = `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {inline: "{}"}}]}`

func provider(rest string) string {
	return `{selector: {}, jwt: {providers: [{name: a, issuer: i, ` + rest + `}]}}`
}

// conditional returns a policy with one rule.
func conditional(rest string) string {
	return `{selector: {}, ` + jwt + `, authorization: {rules: [{name: a, match: [{paths: [/a]}], ` + rest + `}]}}`
}

func limit(rest string) string {
	return `{selector: {}, ` + jwt + `, rateLimits: [{name: a, ` + rest + `}]}`
}

func tokens(rest string) string {
	return `{selector: {}, tokens: {issuer: "https://shop.example.com", audiences: [shop], signingKey: {secretKeyRef: {name: k, key: k}}` + rest + `}}`
}

const caRef = `caRef: {secretKeyRef: {name: ca, key: ca.crt}}`

// secured returns a policy that serves TLS.
func secured(rest string) string {
	return `{selector: {}, tls: {mode: Require, certificates: [{secretRef: {name: a-tls}}]` + rest + `}}`
}

func vault(address, auth string) string {
	return `{vault: {address: "` + address + `", auth: {` + auth + `}}}`
}

func vaultTimes(times string) string {
	return `{vault: {address: "https://v", auth: {kubernetes: {role: r}}, ` + times + `}}`
}

// less returns a duration that is a second shorter, and twice one that is twice as long.
func less(d v1alpha1.Duration) string { return (std(d) - time.Second).String() }

func twice(d v1alpha1.Duration) string { return (2 * std(d)).String() }

func std(d v1alpha1.Duration) time.Duration {
	v, err := d.Std()
	if err != nil {
		panic(err)
	}
	return v
}

func redis(rest string) string { return `{redis: {` + rest + `}}` }

const good = `audiences: [x], algorithms: [RS256], jwks: {inline: "{}"}`

// validations has each rule both ways.
var validations = map[string]validation{
	"the least policy":                  {spec: `{selector: {}}`},
	"no selector":                       {spec: `{}`, wantErr: "Required value"},
	"selector by expressions":           {spec: `{selector: {matchLabels: {a: b}, matchExpressions: [{key: c, operator: NotIn, values: [d]}, {key: e, operator: Exists}]}}`},
	"selector by no operator":           {spec: `{selector: {matchExpressions: [{key: a, operator: Near, values: [b]}]}}`, wantErr: "an operator of matchExpressions"},
	"selector In nothing":               {spec: `{selector: {matchExpressions: [{key: a, operator: In}]}}`, wantErr: "an operator of matchExpressions"},
	"selector Exists with values":       {spec: `{selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}`, wantErr: "an operator of matchExpressions"},
	"default Authenticated with jwt":    {spec: `{selector: {}, ` + jwt + `, authorization: {default: Authenticated}}`},
	"default Authenticated without":     {spec: `{selector: {}, authorization: {default: Authenticated}}`, wantErr: "neither a jwt, a tokens nor an apiKeys section"},
	"TLS":                               {spec: secured(``)},
	"TLS of all kinds":                  {spec: `{selector: {}, tls: {mode: Permissive, minVersion: "1.3", redirect: {port: 8443}, certificates: [{secretRef: {name: a-tls}}, {vault: {kv: {path: secret/shop/tls}}}, {vault: {pki: {mount: pki/shop, role: shop, commonName: "*.example.com", altNames: [a, b.c], ttl: 24h}}}]}}`},
	"TLS without certificates":          {spec: `{selector: {}, tls: {mode: Require, certificates: []}}`, wantErr: "should have at least 1 items"},
	"TLS of an unknown mode":            {spec: `{selector: {}, tls: {mode: Optional, certificates: [{secretRef: {name: a}}]}}`, wantErr: "Unsupported value"},
	"TLS 1.1":                           {spec: secured(`, minVersion: "1.1"`), wantErr: "Unsupported value"},
	"a redirect to no port":             {spec: secured(`, redirect: {port: 65536}`), wantErr: "less than or equal to 65535"},
	"a certificate from nowhere":        {spec: `{selector: {}, tls: {mode: Require, certificates: [{}]}}`, wantErr: "exactly one of secretRef and vault"},
	"a certificate from two places":     {spec: `{selector: {}, tls: {mode: Require, certificates: [{secretRef: {name: a}, vault: {kv: {path: a/b}}}]}}`, wantErr: "exactly one of secretRef and vault"},
	"a certificate of both engines":     {spec: `{selector: {}, tls: {mode: Require, certificates: [{vault: {kv: {path: a/b}, pki: {role: r, commonName: a}}}]}}`, wantErr: "exactly one of kv and pki"},
	"a role with a slash":               {spec: `{selector: {}, tls: {mode: Require, certificates: [{vault: {pki: {role: a/b, commonName: a}}}]}}`, wantErr: "not the name of a role in Vault"},
	"a common name with a comma":        {spec: `{selector: {}, tls: {mode: Require, certificates: [{vault: {pki: {role: r, commonName: "a,b"}}}]}}`, wantErr: "not a DNS name"},
	"a certificate for a minute":        {spec: `{selector: {}, tls: {mode: Require, certificates: [{vault: {pki: {role: r, commonName: a, ttl: 1m}}}]}}`, wantErr: "ttl is not between 5m and 8760h"},
	"client certificates":               {spec: secured(`, clientCertificates: {mode: Require, caRef: {secretKeyRef: {name: c, key: ca.crt}}, crlRef: {vault: {path: a/b, key: crl}}, identity: URISAN, trustDomains: [example.org]}`)},
	"client certificates of none":       {spec: secured(`, clientCertificates: {mode: None}`)},
	"client certificates without a CA":  {spec: secured(`, clientCertificates: {identity: Subject}`), wantErr: "there is no CA to verify certificates with"},
	"trust domains of DNS names":        {spec: secured(`, clientCertificates: {` + caRef + `, identity: DNSSAN, trustDomains: [a]}`), wantErr: "trustDomains applies to identity URISAN only"},
	"claims without identity":           {spec: secured(`, clientCertificates: {` + caRef + `, claimsToHeaders: [{claim: sub, header: X-A}]}`), wantErr: "without identity a certificate has no claims"},
	"plain requests and certificates":   {spec: `{selector: {}, tls: {mode: Permissive, certificates: [{secretRef: {name: a}}], clientCertificates: {mode: Require, ` + caRef + `}}}`, wantErr: "mode Permissive also accepts plain HTTP"},
	"Authenticated by a certificate":    {spec: `{selector: {}, tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {` + caRef + `, identity: URISAN}}, revocation: {}, authorization: {default: Authenticated, rules: [{name: a, match: [{}]}]}, rateLimits: [{name: a, limit: 5/minute, keyBy: [{type: Subject}]}]}`},
	"proofs of all kinds":               {spec: provider(good + `, proofOfPossession: {mode: Require, methods: [mTLS, DPoP], dpop: {algorithms: [ES256, Ed25519], maxAge: 30s, onFailure: Allow}}`)},
	"proofs by default":                 {spec: provider(good + `, proofOfPossession: {}`)},
	"no proofs":                         {spec: provider(good + `, proofOfPossession: {mode: None}`)},
	"no proofs, of a method":            {spec: provider(good + `, proofOfPossession: {mode: None, methods: [DPoP]}`), wantErr: "mode None checks nothing"},
	"proofs of an unknown method":       {spec: provider(good + `, proofOfPossession: {methods: [TLS]}`), wantErr: "Unsupported value"},
	"proofs of no method":               {spec: provider(good + `, proofOfPossession: {methods: []}`), wantErr: "should have at least 1 items"},
	"DPoP without DPoP":                 {spec: provider(good + `, proofOfPossession: {methods: [mTLS], dpop: {}}`), wantErr: "dpop applies to the method DPoP only"},
	"symmetric proofs":                  {spec: provider(good + `, proofOfPossession: {dpop: {algorithms: [HS256]}}`), wantErr: "Unsupported value"},
	"proofs that last":                  {spec: provider(good + `, proofOfPossession: {dpop: {maxAge: 11m}}`), wantErr: "maxAge is not between 1s and 10m"},
	"forwarded certificates":            {spec: `{selector: {}, forwardClientCert: {fromProxies: Use, toApp: [Hash, Cert, Chain, Subject, URI, DNS]}}`},
	"forwarded certificates, unchanged": {spec: `{selector: {}, forwardClientCert: {}}`, wantErr: "forwardClientCert changes nothing"},
	"an unknown detail":                 {spec: `{selector: {}, forwardClientCert: {toApp: [By]}}`, wantErr: "Unsupported value"},
	"Authenticated by admission":        {spec: `{selector: {}, tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {` + caRef + `}}, authorization: {default: Authenticated}}`, wantErr: "nor an identity of tls.clientCertificates"},
	"TLS to the app":                    {spec: `{selector: {}, upstreamTLS: {` + caRef + `, serverName: orders.shop.svc}}`},
	"TLS to the app without a CA":       {spec: `{selector: {}, upstreamTLS: {serverName: a}}`, wantErr: "Required value"},
	"TLS to the app by an address":      {spec: `{selector: {}, upstreamTLS: {` + caRef + `, serverName: "::1"}}`, wantErr: "not a DNS name"},
	"API keys":                          {spec: `{selector: {}, apiKeys: {` + keysRef + `}, revocation: {}, authorization: {default: Authenticated, rules: [{name: a, match: [{}], require: Authenticated}]}, rateLimits: [{name: a, limit: 1/second, keyBy: [{type: Subject}]}]}`},
	"API keys in all places":            {spec: `{selector: {}, apiKeys: {` + keysRef + `, from: [{header: X-API-Key, prefix: "k "}, {query: api_key}, {basicAuth: true}]}}`},
	"API keys without a file":           {spec: `{selector: {}, apiKeys: {}}`, wantErr: "add keysRef, usersRef or both"},
	"users":                             {spec: `{selector: {}, apiKeys: {` + usersRef + `}, authorization: {default: Authenticated}}`},
	"users and keys":                    {spec: `{selector: {}, apiKeys: {` + keysRef + `, ` + usersRef + `, from: [{header: X-API-Key}]}}`},
	"users and Basic keys":              {spec: `{selector: {}, apiKeys: {` + keysRef + `, ` + usersRef + `, from: [{header: X-API-Key}, {basicAuth: true}]}}`, wantErr: "either an API key (from basicAuth) or a user"},
	"users and places of keys":          {spec: `{selector: {}, apiKeys: {` + usersRef + `, from: [{header: X-API-Key}]}}`, wantErr: "there is no key file: add keysRef, or remove from"},
	"users in both places":              {spec: `{selector: {}, apiKeys: {usersRef: {secretKeyRef: {name: u, key: u}, vault: {path: a/b, key: c}}}}`, wantErr: "vault"},
	"API keys nowhere":                  {spec: `{selector: {}, apiKeys: {` + keysRef + `, from: [{basicAuth: false}]}}`, wantErr: "exactly one of header, query and basicAuth"},
	"API keys in two places at once":    {spec: `{selector: {}, apiKeys: {` + keysRef + `, from: [{header: X-K, query: k}]}}`, wantErr: "exactly one of header, query and basicAuth"},
	"a prefix of a query":               {spec: `{selector: {}, apiKeys: {` + keysRef + `, from: [{query: k, prefix: a}]}}`, wantErr: "prefix applies to header only"},
	"a query by another name":           {spec: `{selector: {}, apiKeys: {` + keysRef + `, from: [{query: "a b"}]}}`, wantErr: "not the name of a query parameter"},
	"default Deny without jwt":          {spec: `{selector: {}, authorization: {default: Deny}}`},
	"rule Authenticated with jwt":       {spec: `{selector: {}, ` + jwt + `, authorization: {rules: [{name: a, match: [{}], require: Authenticated}]}}`},
	"a rule without require or jwt":     {spec: `{selector: {}, authorization: {rules: [{name: a, match: [{}]}]}}`, wantErr: "neither a jwt, a tokens nor an apiKeys section"},
	"the rule of the docs":              {spec: conditional(`scopes: {all: [orders:write]}, claims: [{claim: realm_access.roles, any: [support, admin]}], clientAddresses: [10.0.0.0/8]`)},
	"every condition":                   {spec: conditional(`require: Authenticated, scopes: {any: [a]}, claims: [{claim: a, all: [b]}], providers: [a], notClientAddresses: ["::1"], hosts: ["*.a.example"], headers: [{name: X-A, values: [b]}, {name: X-B, prefix: b}, {name: X-C, present: false}], expression: "true"`)},
	"conditions of an anonymous rule":   {spec: conditional(`require: Anonymous, clientAddresses: [10.0.0.0/8], hosts: [a.example], headers: [{name: X-A, present: true}]`)},
	"claims of an anonymous rule":       {spec: conditional(`require: Anonymous, claims: [{claim: a, any: [b]}]`), wantErr: "Anonymous requires none: write require: Authenticated"},
	"scopes of an anonymous rule":       {spec: conditional(`require: Anonymous, scopes: {any: [b]}`), wantErr: "Anonymous requires none: write require: Authenticated"},
	"providers of an anonymous rule":    {spec: conditional(`require: Anonymous, providers: [a]`), wantErr: "Anonymous requires none: write require: Authenticated"},
	"scopes of a closed rule":           {spec: conditional(`require: Deny, scopes: {any: [b]}`), wantErr: "Deny refuses every caller"},
	"addresses of a closed rule":        {spec: conditional(`require: Deny, clientAddresses: [10.0.0.0/8]`), wantErr: "Deny refuses every caller"},
	"other addresses of a closed rule":  {spec: conditional(`require: Deny, notClientAddresses: [10.0.0.0/8]`), wantErr: "Deny refuses every caller"},
	"hosts of a closed rule":            {spec: conditional(`require: Deny, hosts: [a]`), wantErr: "Deny refuses every caller"},
	"headers of a closed rule":          {spec: conditional(`require: Deny, headers: [{name: X-A, prefix: a}]`), wantErr: "Deny refuses every caller"},
	"an expression of a closed rule":    {spec: conditional(`require: Deny, expression: "true"`), wantErr: "Deny refuses every caller"},
	"a claim of any value":              {spec: conditional(`claims: [{claim: a}]`), wantErr: "such as {claim: realm_access.roles, any: [admin]}"},
	"scopes that are none":              {spec: conditional(`scopes: {}`), wantErr: "such as {all: [orders:write]}"},
	"no client addresses":               {spec: conditional(`clientAddresses: []`), wantErr: "should have at least 1 items"},
	"a header without a value":          {spec: conditional(`headers: [{name: X-A}]`), wantErr: "such as {name: X-Env, values: [staging]}"},
	"a header with two conditions":      {spec: conditional(`headers: [{name: X-A, prefix: a, present: true}]`), wantErr: "such as {name: X-Env, values: [staging]}"},
	"a condition's header with _":       {spec: conditional(`headers: [{name: X_A, prefix: a}]`), wantErr: "such as X-Env"},
	"rule Authenticated without":        {spec: `{selector: {}, authorization: {rules: [{name: a, match: [{}], require: Authenticated}]}}`, wantErr: "neither a jwt, a tokens nor an apiKeys section"},
	"keyed by Subject with jwt":         {spec: limit(`limit: 1/second, keyBy: [{type: Subject}]`)},
	"keyed by Subject without":          {spec: `{selector: {}, rateLimits: [{name: a, limit: 1/second, keyBy: [{type: Subject}]}]}`, wantErr: "keyed by Subject or Claim"},
	"the limits of the issue": {spec: limit(`keyBy: [{type: Subject}], limit: 10/minute,
		limitByClaim: {claim: plan, values: [{value: gold, limit: 100/minute}]}, exempt: {clientAddresses: [10.0.0.0/8]}`)},
	"only requests in flight":          {spec: `{selector: {}, rateLimits: [{name: a, maxInFlight: 10}, {name: b, maxInFlight: 10, limit: 5/second, burst: 9, cost: {requests: 2}}]}`},
	"a limit of nothing":               {spec: `{selector: {}, rateLimits: [{name: a}]}`, wantErr: "limits nothing"},
	"none in flight":                   {spec: `{selector: {}, rateLimits: [{name: a, maxInFlight: 0}]}`, wantErr: "maxInFlight"},
	"too many in flight":               {spec: `{selector: {}, rateLimits: [{name: a, maxInFlight: 100001}]}`, wantErr: "maxInFlight"},
	"a burst without limit":            {spec: `{selector: {}, rateLimits: [{name: a, maxInFlight: 10, burst: 5}]}`, wantErr: "change limit, and there is none"},
	"a cost without limit":             {spec: `{selector: {}, rateLimits: [{name: a, maxInFlight: 10, cost: {requests: 5}}]}`, wantErr: "change limit, and there is none"},
	"a limit by claim without jwt":     {spec: `{selector: {}, rateLimits: [{name: a, limit: 1/second, limitByClaim: {claim: plan, values: [{value: gold, limit: 2/second}]}}]}`, wantErr: "limitByClaim or exempt.claims"},
	"an exempt claim without jwt":      {spec: `{selector: {}, rateLimits: [{name: a, limit: 1/second, exempt: {claims: [{claim: roles, any: [batch]}]}}]}`, wantErr: "limitByClaim or exempt.claims"},
	"an exempt address without jwt":    {spec: `{selector: {}, rateLimits: [{name: a, limit: 1/second, exempt: {clientAddresses: ["2001:db8::/32"]}}]}`},
	"a value of a claim twice":         {spec: limit(`limit: 1/second, limitByClaim: {claim: plan, values: [{value: gold, limit: 2/second}, {value: gold, limit: 3/second}]}`), wantErr: "Duplicate value"},
	"a limit by claim of no rate":      {spec: limit(`limit: 1/second, limitByClaim: {claim: plan, values: [{value: gold, limit: 2 a second}]}`), wantErr: "not a rate"},
	"an exemption of nobody":           {spec: limit(`limit: 1/second, exempt: {}`), wantErr: "exempt exempts nobody"},
	"an exempt address that is none":   {spec: limit(`limit: 1/second, exempt: {clientAddresses: [10.0.0.1]}`), wantErr: "no network in CIDR notation"},
	"an exempt claim of any value":     {spec: limit(`limit: 1/second, exempt: {claims: [{claim: roles}]}`), wantErr: "the claim may have any value"},
	"an IPv6 prefix length":            {spec: limit(`limit: 1/second, ipv6PrefixLength: 56`)},
	"an IPv6 prefix length of 16":      {spec: limit(`limit: 1/second, ipv6PrefixLength: 16`), wantErr: "greater than or equal to 32"},
	"a cost of nothing":                {spec: limit(`limit: 1/second, cost: {requests: 0}`), wantErr: "greater than or equal to 1"},
	"the cost of the issue":            {spec: limit(`match: [{paths: [/v1/chat]}], keyBy: [{type: Subject}], limit: 20000/hour, cost: {responseJSON: usage.total_tokens}`)},
	"a cost in a header":               {spec: limit(`limit: 1/second, cost: {responseHeader: X-Cost}`)},
	"a cost without a place":           {spec: limit(`limit: 1/second, cost: {}`), wantErr: "exactly one of requests, responseJSON and responseHeader"},
	"a cost in two places":             {spec: limit(`limit: 1/second, cost: {responseJSON: a, responseHeader: X-Cost}`), wantErr: "exactly one of requests, responseJSON and responseHeader"},
	"a port by number":                 {spec: `{selector: {}, ports: [{port: 65535}]}`},
	"a port by name":                   {spec: `{selector: {}, ports: [{port: http-1}]}`},
	"port 0":                           {spec: `{selector: {}, ports: [{port: 0}]}`, wantErr: "number from 1 to 65535"},
	"port 65536":                       {spec: `{selector: {}, ports: [{port: 65536}]}`, wantErr: "number from 1 to 65535"},
	"a bad port name":                  {spec: `{selector: {}, ports: [{port: Http}]}`, wantErr: "write port: 8080 or port: http"},
	"a port twice":                     {spec: `{selector: {}, ports: [{port: 80}, {port: 80, protocol: TCP}]}`, wantErr: "a port is in the list twice"},
	"two ports":                        {spec: `{selector: {}, ports: [{port: 80}, {port: http}]}`},
	"paths":                            {spec: `{selector: {}, authorization: {rules: [{name: a, match: [{paths: [/, /a, /a/*/b, /a/**, "/**"]}], require: Deny}]}}`},
	"a relative path":                  {spec: `{selector: {}, authorization: {rules: [{name: a, match: [{paths: [a]}], require: Deny}]}}`, wantErr: "a path starts with /: write one such as"},
	"two stars in the middle":          {spec: `{selector: {}, authorization: {rules: [{name: a, match: [{paths: [/a/**/b]}], require: Deny}]}}`, wantErr: "should match"},
	"a star inside a segment":          {spec: `{selector: {}, authorization: {rules: [{name: a, match: [{paths: ["/a*"]}], require: Deny}]}}`, wantErr: "should match"},
	"a lower-case method":              {spec: `{selector: {}, authorization: {rules: [{name: a, match: [{methods: [get]}], require: Deny}]}}`, wantErr: "write it in upper case, such as GET or POST"},
	"two issuers":                      {spec: `{selector: {}, jwt: {providers: [{name: a, issuer: i, ` + good + `}, {name: b, issuer: j, ` + good + `}]}}`},
	"an issuer twice":                  {spec: `{selector: {}, jwt: {providers: [{name: a, issuer: i, ` + good + `}, {name: b, issuer: i, ` + good + `}]}}`, wantErr: "two providers have the same issuer"},
	"a name twice":                     {spec: `{selector: {}, jwt: {providers: [{name: a, issuer: i, ` + good + `}, {name: a, issuer: j, ` + good + `}]}}`, wantErr: "Duplicate value"},
	"HMAC with a Secret":               {spec: provider(`audiences: [x], algorithms: [HS256], jwks: {secretKeyRef: {name: s, key: k}}`)},
	"HMAC by URI":                      {spec: provider(`audiences: [x], algorithms: [HS256], jwks: {uri: "https://x/"}`), wantErr: "HS* algorithms need jwks.secretKeyRef"},
	"HMAC mixed with RSA":              {spec: provider(`audiences: [x], algorithms: [HS256, RS256], jwks: {secretKeyRef: {name: s, key: k}}`), wantErr: "mixes HMAC"},
	"alg none":                         {spec: provider(`audiences: [x], algorithms: [none], jwks: {inline: "{}"}`), wantErr: "Unsupported value"},
	"no audience":                      {spec: provider(`algorithms: [RS256], jwks: {inline: "{}"}`), wantErr: "no audience is required"},
	"legacy tokens":                    {spec: `{selector: {}, jwt: {providers: [{name: a, legacy: {until: "2026-03-01T00:00:00Z"}, algorithms: [HS256], jwks: {secretKeyRef: {name: s, key: k}}}]}}`},
	"legacy tokens beside an issuer":   {spec: `{selector: {}, jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {inline: "{}"}}, {name: b, legacy: {until: "2026-03-01T00:00:00Z"}, algorithms: [HS256], jwks: {secretKeyRef: {name: s, key: k}}}]}}`},
	"two legacy without issuer":        {spec: `{selector: {}, jwt: {providers: [{name: a, legacy: {until: "2026-03-01T00:00:00Z"}, algorithms: [HS256], jwks: {secretKeyRef: {name: s, key: k}}}, {name: b, legacy: {until: "2026-03-01T00:00:00Z"}, algorithms: [HS256], jwks: {secretKeyRef: {name: t, key: k}}}]}}`, wantErr: "the same issuer"},
	"legacy tokens without end":        {spec: `{selector: {}, jwt: {providers: [{name: a, legacy: {}, algorithms: [HS256], jwks: {secretKeyRef: {name: s, key: k}}}]}}`, wantErr: "Required value"},
	"legacy tokens and logout":         {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {inline: "{}"}, legacy: {until: "2026-03-01T00:00:00Z"}, backChannelLogout: {}`), wantErr: "remove backChannelLogout"},
	"no issuer":                        {spec: `{selector: {}, jwt: {providers: [{name: a, audiences: [x], algorithms: [RS256], jwks: {inline: "{}"}}]}}`, wantErr: "there is no issuer"},
	"claims for audience":              {spec: provider(`algorithms: [RS256], jwks: {inline: "{}"}, requiredClaims: [{claim: client_id, values: [x]}]`)},
	"keys from nowhere":                {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {}`), wantErr: "exactly one of uri, inline, secretKeyRef and vault"},
	"keys from two places":             {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://x/", inline: "{}"}`), wantErr: "exactly one of uri, inline, secretKeyRef and vault"},
	"a refresh of inline keys":         {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {inline: "{}", refreshInterval: 5m}`), wantErr: "apply to uri only"},
	"keys by https":                    {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com:8443/keys?x=1", refreshInterval: 5m, maxStale: 1h}`)},
	"keys by http of this host":        {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "http://127.0.0.1:8080/keys"}`)},
	"keys by http of this host, IPv6":  {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "http://[::1]:8080/keys"}`)},
	"keys by http":                     {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "http://id.example.com/keys"}`), wantErr: "uri is a plain http URL"},
	"http of a lookalike":              {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "http://localhost.example.com/keys"}`), wantErr: "uri is a plain http URL"},
	"keys by http, by a field":         {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "http://keys.shop.svc/jwks.json", insecureHTTP: true}`)},
	"keys by http, field is false":     {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "http://keys.shop.svc/jwks.json", insecureHTTP: false}`), wantErr: "uri is a plain http URL"},
	"a token over http":                {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "http://keys.shop.svc/jwks.json", insecureHTTP: true, bearerToken: {serviceAccount: {}}}`), wantErr: "bearerToken would be sent over plain http"},
	"a token of the pod":               {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://kubernetes.default.svc/openid/v1/jwks", bearerToken: {serviceAccount: {}}}`)},
	"a token of the pod, by audience":  {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/keys", bearerToken: {serviceAccount: {audience: id}}}`)},
	"a token from Vault":               {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/keys", bearerToken: {vault: {path: secret/id, key: token}}}`)},
	"a token from nowhere":             {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/keys", bearerToken: {}}`), wantErr: "exactly one of serviceAccount, vault and secretKeyRef"},
	"a token from two places":          {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/keys", bearerToken: {serviceAccount: {}, secretKeyRef: {name: a, key: b}}}`), wantErr: "exactly one of serviceAccount, vault and secretKeyRef"},
	"a token for inline keys":          {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {inline: "{}", bearerToken: {serviceAccount: {}}}`), wantErr: "apply to uri only"},
	"Ed25519":                          {spec: provider(`audiences: [x], algorithms: [EdDSA, Ed25519], jwks: {inline: "{}"}`)},
	"keys by URL with a password":      {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://u:p@id.example.com/keys"}`), wantErr: "https URL without user information"},
	"too quick a refresh":              {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {uri: "https://x/", refreshInterval: 1s}`), wantErr: "refreshInterval is not between 10s and 24h"},
	"a Secret's key out of its folder": {spec: provider(`audiences: [x], algorithms: [RS256], jwks: {secretKeyRef: {name: s, key: ..}}`), wantErr: "a key of a Secret is not ."},
	"leeway":                           {spec: provider(good + `, leeway: 5m`)},
	"too long a leeway":                {spec: provider(good + `, leeway: 6m`), wantErr: "leeway is more than 5m"},
	"a leeway that is no duration":     {spec: provider(good + `, leeway: 1d`), wantErr: "such as 30s, 15m or 168h"},
	"token from header and cookie":     {spec: provider(good + `, from: [{header: X-Token}, {cookie: token}]`)},
	"token from nowhere":               {spec: provider(good + `, from: [{}]`), wantErr: "exactly one of header and cookie"},
	"token from one place of two":      {spec: provider(good + `, from: [{header: X-Token, cookie: token}]`), wantErr: "exactly one of header and cookie"},
	"a cookie's prefix":                {spec: provider(good + `, from: [{cookie: token, prefix: "Bearer "}]`), wantErr: "prefix applies to header only"},
	"a claim in a format":              {spec: provider(good + `, claimsToHeaders: [{claim: sub, header: X-Auth-Subject, format: Base64URL}]`)},
	"a claim in no format":             {spec: provider(good + `, claimsToHeaders: [{claim: sub, header: X-Auth-Subject, format: XML}]`), wantErr: "Unsupported value"},
	"a field encoding":                 {spec: tokens(`, fieldEncoding: Latin1`)},
	"no field encoding":                {spec: tokens(`, fieldEncoding: UTF16`), wantErr: "Unsupported value"},
	"members of a scope":               {spec: provider(good + `, requiredClaims: [{claim: scope, members: {all: [a], any: [b, c]}}]`)},
	"values and members":               {spec: provider(good + `, requiredClaims: [{claim: scope, values: [a], members: {all: [a]}}]`), wantErr: "one of the two"},
	"members of nothing":               {spec: provider(good + `, requiredClaims: [{claim: scope, members: {}}]`), wantErr: "members requires nothing"},
	"a claim to a header":              {spec: provider(good + `, claimsToHeaders: [{claim: sub, header: X-Auth-Subject}]`)},
	"a claim to Host":                  {spec: provider(good + `, claimsToHeaders: [{claim: sub, header: HOST}]`), wantErr: "meaning of its own in HTTP"},
	"a claim to a method override":     {spec: provider(good + `, claimsToHeaders: [{claim: sub, header: X-HTTP-Method-Override}]`), wantErr: "meaning of its own in HTTP"},
	"a rate":                           {spec: limit(`limit: 100/15m, burst: 10`)},
	"a rate in a long period":          {spec: limit(`limit: 100/745h`), wantErr: "more than 744h"},
	"a rate in the longest period":     {spec: limit(`limit: 100/744h`)},
	"no rate":                          {spec: limit(`limit: often`), wantErr: "such as 5/minute or 100/15m"},
	"keyed by a header":                {spec: limit(`limit: 1/day, keyBy: [{type: Header, name: X-Tenant}]`)},
	"keyed by a nameless header":       {spec: limit(`limit: 1/day, keyBy: [{type: Header}]`), wantErr: "the types Claim and Header need a name"},
	"keyed by a named address":         {spec: limit(`limit: 1/day, keyBy: [{type: ClientAddress, name: x}]`), wantErr: "the types Claim and Header need a name"},
	"a header set":                     {spec: `{selector: {}, headers: {preset: API, set: [{name: X-Team, value: orders}]}}`},
	"a header that HTTP governs":       {spec: `{selector: {}, headers: {set: [{name: Transfer-Encoding, value: x}]}}`, wantErr: "controls this header field"},
	"a header that CORS governs":       {spec: `{selector: {}, headers: {set: [{name: Access-Control-Allow-Origin, value: "*"}]}}`, wantErr: "controls this header field"},
	"a header with a line break":       {spec: `{selector: {}, headers: {set: [{name: X-A, value: "a\r\nb"}]}}`, wantErr: "one line of ASCII text: write one such as max-age=600"},
	"an origin":                        {spec: `{selector: {}, cors: {allowOrigins: ["https://app.example.com:8443"], allowCredentials: true, maxAge: 24h}}`},
	"any origin":                       {spec: `{selector: {}, cors: {allowOrigins: ["*"]}}`},
	"any origin with credentials":      {spec: `{selector: {}, cors: {allowOrigins: ["*"], allowCredentials: true}}`, wantErr: "any site could act as the user"},
	"any origin and another":           {spec: `{selector: {}, cors: {allowOrigins: ["*", "https://a"]}}`, wantErr: "write [*] without other origins"},
	"the null origin":                  {spec: `{selector: {}, cors: {allowOrigins: ["null"]}}`, wantErr: "such as https://app.example.com:8443, https://*.preview.example.com or http://localhost:*"},
	"an origin with a path":            {spec: `{selector: {}, cors: {allowOrigins: ["https://a/"]}}`, wantErr: "without a path, such as https://app.example.com:8443"},
	"too long a maxAge":                {spec: `{selector: {}, cors: {allowOrigins: ["https://a"], maxAge: 25h}}`, wantErr: "maxAge is more than 24h"},
	"compression":                      {spec: `{selector: {}, compression: {minSize: 1KiB, types: [application/json, text/*]}}`},
	"compression of everything":        {spec: `{selector: {}, compression: {types: ["*/*"]}}`, wantErr: "such as application/json or text/*"},

	"tokens":                                {spec: tokens(``)},
	"tokens by cookie":                      {spec: tokens(`, delivery: Cookie, cookie: {sameSite: Strict, trustedOrigins: ["https://app.example.com"]}`)},
	"cookie without the delivery":           {spec: tokens(`, cookie: {sameSite: Strict}`), wantErr: "cookie applies to delivery Cookie only"},
	"an issuer that is no URL":              {spec: strings.Replace(tokens(``), "https://shop.example.com", "shop", 1), wantErr: "issuer is not an https URL"},
	"an issuer that is a pattern":           {spec: strings.Replace(tokens(``), "https://shop.example.com", "https://shop.example.com/a*", 1), wantErr: "and asterisk"},
	"a lifetime with a fraction":            {spec: tokens(`, accessLifetime: 1500ms`), wantErr: "in whole seconds"},
	"a lifetime in milliseconds":            {spec: tokens(`, accessLifetime: 60000ms`)},
	"a prefix that is a dot":                {spec: tokens(`, endpoints: {prefix: /.}`), wantErr: "which no request has"},
	"a prefix that goes up":                 {spec: tokens(`, endpoints: {prefix: /a/..}`), wantErr: "which no request has"},
	"a prefix with dots":                    {spec: tokens(`, endpoints: {prefix: /.well/v1.0/..a}`)},
	"an issuer with a query":                {spec: strings.Replace(tokens(``), "https://shop.example.com", "https://shop.example.com?a", 1), wantErr: "issuer is not an https URL"},
	"a long access lifetime":                {spec: tokens(`, accessLifetime: 25h`), wantErr: "accessLifetime is not between 1s and 24h"},
	"refresh before access":                 {spec: tokens(`, accessLifetime: 1h, refreshLifetime: 30m`), wantErr: "refreshLifetime is shorter"},
	"a long grace":                          {spec: tokens(`, refreshGrace: 2m`), wantErr: "refreshGrace is more than 1m"},
	"a claim with a meaning":                {spec: tokens(`, claims: [roles, sub]`), wantErr: "a defined meaning in tokens"},
	"login routes":                          {spec: tokens(`, login: [{methods: [POST], paths: [/login]}]`)},
	"login routes everywhere":               {spec: tokens(`, login: [{methods: [POST]}]`), wantErr: "a login has no paths"},
	"a page after a logout":                 {spec: tokens(`, endpoints: {logoutRedirect: "/login?a=b#c"}`)},
	"a logout to the start":                 {spec: tokens(`, endpoints: {logoutRedirect: /}`)},
	"a logout to a URL":                     {spec: tokens(`, endpoints: {logoutRedirect: "https://evil.example"}`), wantErr: "not a path of the same host"},
	"a logout to a host":                    {spec: tokens(`, endpoints: {logoutRedirect: "//evil.example"}`), wantErr: "not a path of the same host"},
	"a logout by a backslash":               {spec: tokens(`, endpoints: {logoutRedirect: '/\evil.example'}`), wantErr: "not a path of the same host"},
	"a logout with a line end":              {spec: tokens(`, endpoints: {logoutRedirect: "/a\nb"}`), wantErr: "not a path of the same host"},
	"a prefix that is none":                 {spec: tokens(`, endpoints: {prefix: auth}`), wantErr: "without a slash at its end, such as /auth"},
	"no signing key":                        {spec: `{selector: {}, tokens: {issuer: "https://a", audiences: [x]}}`, wantErr: "Required value"},
	"a signing key in two places":           {spec: strings.Replace(tokens(``), "secretKeyRef:", "transit: {key: a}, secretKeyRef:", 1), wantErr: "exactly one of transit, vault and secretKeyRef"},
	"a signing key in Vault":                {spec: strings.Replace(tokens(``), "secretKeyRef: {name: k, key: k}", "vault: {path: secret/shop/key, key: pem}", 1)},
	"a path in Vault without a mount":       {spec: strings.Replace(tokens(``), "secretKeyRef: {name: k, key: k}", "vault: {path: key, key: pem}", 1), wantErr: "such as secret/shop/redis"},
	"HS256 by Transit":                      {spec: strings.Replace(tokens(`, algorithm: HS256`), "secretKeyRef: {name: k, key: k}", "transit: {key: a}", 1), wantErr: "HS256 does not work with Transit"},
	"rotation":                              {spec: tokens(`, rotation: {interval: 2h, overlap: 1h}`)},
	"rotation within the overlap":           {spec: tokens(`, rotation: {interval: 90m, overlap: 1h}`), wantErr: "less than twice the overlap"},
	"the shortest refresh by default":       {spec: tokens(`, refreshLifetime: ` + string(v1alpha1.DefaultAccessLifetime))},
	"refresh before access by default":      {spec: tokens(`, refreshLifetime: ` + less(v1alpha1.DefaultAccessLifetime)), wantErr: "refreshLifetime is shorter"},
	"the longest access by default":         {spec: tokens(`, accessLifetime: 24h`)},
	"the shortest rotation by default":      {spec: tokens(`, rotation: {interval: ` + twice(v1alpha1.DefaultRotationOverlap) + `}`)},
	"rotation within the default overlap":   {spec: tokens(`, rotation: {interval: ` + less(v1alpha1.Duration(twice(v1alpha1.DefaultRotationOverlap))) + `}`), wantErr: "less than twice the overlap"},
	"cookies without Cookie":                {spec: tokens(`, cookie: {sameSite: Strict}`), wantErr: "cookie applies to delivery Cookie only"},
	"Transit by default":                    {spec: strings.Replace(tokens(``), "secretKeyRef: {name: k, key: k}", "transit: {key: k}", 1)},
	"idle for as long as the default":       {spec: strings.Replace(tokens(``), "{selector", "{sessions: {idleTimeout: "+string(v1alpha1.DefaultAbsoluteTimeout)+"}, selector", 1)},
	"idle beyond the default":               {spec: strings.Replace(tokens(``), "{selector", "{sessions: {idleTimeout: 721h}, selector", 1), wantErr: "idleTimeout is longer than absoluteTimeout"},
	"rules for passwords":                   {spec: `{selector: {}, passwordPolicy: {rules: {minLength: 15, maxLength: 128, blocklist: Common, contextWords: [shop], minScore: 3}, routes: [{match: [{methods: [POST], paths: [/register]}], password: {json: password}, confirmation: {json: password2}, account: {json: email}}]}}`},
	"passwords of at most 63":               {spec: `{selector: {}, passwordPolicy: {rules: {maxLength: 63}}}`, wantErr: "greater than or equal to 64"},
	"a list for logins":                     {spec: breachedLogin(`account: {json: email}, password: {json: password}`, ``)},
	"a list for a reset as well":            {spec: breachedLogin(`account: {json: email}, password: {json: password}}, {name: b, kind: PasswordReset, match: [{paths: [/reset]}], account: {json: email}`, ``)},
	"a list, and no place of the password":  {spec: breachedLogin(`account: {json: email}`, ``), wantErr: "needs the place of the password"},
	"a password for a reset":                {spec: breachedLogin(`kind: PasswordReset, account: {json: email}, password: {json: password}`, ``), wantErr: "remove password"},
	"a list that refuses logins":            {spec: breachedLogin(`account: {json: email}, password: {json: password}`, `, onFailure: Deny`), wantErr: "no login is refused"},
	"a list at a URL":                       {spec: breachedAt(`url: "https://p.example.com/range", caBundle: x`)},
	"a list in a file":                      {spec: breachedAt(`file: {claimName: breached, path: lists/pwned.txt}`)},
	"a list nowhere":                        {spec: breachedAt(`minCount: 2`), wantErr: "exactly one of url and file"},
	"a list at two places":                  {spec: breachedAt(`url: "https://p.example.com/range", file: {claimName: breached, path: pwned.txt}`), wantErr: "exactly one of url and file"},
	"a file with a CA":                      {spec: breachedAt(`file: {claimName: breached, path: pwned.txt}, caBundle: x`), wantErr: "apply to url only"},
	"a file outside its volume":             {spec: breachedAt(`file: {claimName: breached, path: a/../../b}`), wantErr: "not a path inside the volume"},
	"a file at an absolute path":            {spec: breachedAt(`file: {claimName: breached, path: /b}`), wantErr: "not a path inside the volume"},
	"a file of no name":                     {spec: breachedAt(`file: {claimName: breached, path: .}`), wantErr: "not a path inside the volume"},
	"a file at a path that is not clean":    {spec: breachedAt(`file: {claimName: breached, path: a//b}`), wantErr: "not a path inside the volume"},
	"a file of no claim":                    {spec: breachedAt(`file: {claimName: a..b, path: c}`), wantErr: "not the name of a PersistentVolumeClaim"},
	"old passwords":                         {spec: `{selector: {}, passwordPolicy: {onFailure: Allow, rules: {remember: 5, maxAge: 90d, accountClaim: email}}}`},
	"an age in hours":                       {spec: `{selector: {}, passwordPolicy: {rules: {maxAge: 2160h}}}`},
	"an age in words":                       {spec: `{selector: {}, passwordPolicy: {rules: {maxAge: 3 months}}}`, wantErr: "write whole days, such as 90d"},
	"an age of days and hours":              {spec: `{selector: {}, passwordPolicy: {rules: {maxAge: 1d1h}}}`, wantErr: "write whole days, such as 90d"},
	"25 old passwords":                      {spec: `{selector: {}, passwordPolicy: {rules: {remember: 25}}}`, wantErr: "less than or equal to 24"},
	"a store of passwords that fails":       {spec: `{selector: {}, passwordPolicy: {onFailure: Ignore}}`, wantErr: "Allow"},
	"a password nowhere":                    {spec: `{selector: {}, passwordPolicy: {routes: [{match: [{paths: [/a]}], password: {}}]}}`, wantErr: "write {json: user.password}"},
	"argon2id by default":                   {spec: `{selector: {}, passwordPolicy: {hash: {argon2id: {memory: 64MiB}}}}`},
	"a short overlap":                       {spec: tokens(`, rotation: {overlap: 30s}`), wantErr: "overlap is not between 1m"},
	"tokens beside a provider":              {spec: strings.Replace(tokens(``), "{selector", "{"+jwt+", selector", 1)},
	"tokens of a provider's issuer":         {spec: strings.Replace(strings.Replace(tokens(``), "{selector", "{"+jwt+", selector", 1), "issuer: i,", "issuer: https://shop.example.com,", 1), wantErr: "accepted without a provider"},
	"a provider with our name":              {spec: strings.Replace(provider(good), "name: a,", "name: postern,", 1), wantErr: "the name postern is reserved"},
	"Authenticated by tokens alone":         {spec: strings.Replace(tokens(``), "{selector", "{authorization: {default: Authenticated}, selector", 1)},
	"sessions of tokens":                    {spec: strings.Replace(tokens(``), "{selector", "{sessions: {idleTimeout: 1h, absoluteTimeout: 12h, maxPerSubject: 3, whenFull: Reject, device: {bind: Address}}, selector", 1)},
	"sessions of nothing":                   {spec: `{selector: {}, sessions: {idleTimeout: 1h}}`, wantErr: "nothing to keep sessions of"},
	"sessions of providers that nobody ask": {spec: `{selector: {}, ` + jwt + `, sessions: {idleTimeout: 1h}}`, wantErr: "nothing to keep sessions of"},
	"sessions of providers":                 {spec: `{selector: {}, ` + jwt + `, sessions: {idleTimeout: 1h, subjectFrom: sid}}`},
	"sessions of no providers":              {spec: strings.Replace(tokens(``), "{selector", "{sessions: {subjectFrom: sub}, selector", 1), wantErr: "sessions.subjectFrom applies to the tokens of jwt.providers"},
	"idle beyond absolute":                  {spec: strings.Replace(tokens(``), "{selector", "{sessions: {idleTimeout: 2h, absoluteTimeout: 1h}, selector", 1), wantErr: "idleTimeout is longer than absoluteTimeout"},
	"idle for no time":                      {spec: strings.Replace(tokens(``), "{selector", "{sessions: {idleTimeout: 0s}, selector", 1), wantErr: "idleTimeout is not between 1s and 8760h"},
	"a session for ever":                    {spec: strings.Replace(tokens(``), "{selector", "{sessions: {absoluteTimeout: 9000h}, selector", 1), wantErr: "absoluteTimeout is not between 1s and 8760h"},
	"a refresh token for ever":              {spec: tokens(`, refreshLifetime: 9000h`), wantErr: "refreshLifetime is not between 1s and 8760h"},
	"revocation of providers' tokens":       {spec: `{selector: {}, ` + jwt + `, revocation: {maxStaleness: 10s, onFailure: Allow}}`},
	"revocation of nothing":                 {spec: `{selector: {}, revocation: {}}`, wantErr: "there are no tokens or keys to revoke"},
	"revocation in no time":                 {spec: `{selector: {}, ` + jwt + `, revocation: {maxStaleness: 10ms}}`, wantErr: "maxStaleness is not between 1s"},
	"back-channel logout":                   {spec: provider(good + `, backChannelLogout: {}`)},
	"back-channel logout for nobody":        {spec: provider(`requiredClaims: [{claim: c}], algorithms: [RS256], jwks: {inline: "{}"}, backChannelLogout: {}`), wantErr: "backChannelLogout needs clientIDs"},
	"keys in Vault":                         {spec: provider(`audiences: [x], algorithms: [HS256], jwks: {vault: {path: secret/hmac, key: k}}`)},
	"passwords by argon2id":                 {spec: `{selector: {}, passwordPolicy: {hash: {argon2id: {memory: 64MiB, passes: 3}}}}`},
	"passwords by bcrypt":                   {spec: `{selector: {}, passwordPolicy: {hash: {algorithm: Bcrypt, bcrypt: {cost: 13}}}}`},
	"passwords by a cheap bcrypt":           {spec: `{selector: {}, passwordPolicy: {hash: {algorithm: Bcrypt, bcrypt: {cost: 9}}}}`, wantErr: "greater than or equal to 10"},
	"the cost of the one":                   {spec: `{selector: {}, passwordPolicy: {hash: {bcrypt: {cost: 12}}}}`, wantErr: "bcrypt applies to algorithm Bcrypt only"},
	"the cost of the other":                 {spec: `{selector: {}, passwordPolicy: {hash: {algorithm: Bcrypt, argon2id: {passes: 2}}}}`, wantErr: "argon2id applies to algorithm Argon2id only"},

	"a subject revoked":              {kind: "TokenRevocation", spec: `{subject: user-42, issuedBefore: "2026-01-01T00:00:00Z"}`},
	"a token revoked":                {kind: "TokenRevocation", spec: `{tokenID: j, issuer: i, policyName: p, expires: "2026-01-01T00:00:00Z", reason: lost}`},
	"nothing revoked":                {kind: "TokenRevocation", spec: `{issuer: i}`, wantErr: "exactly one of tokenID, sessionID, subject and keyID"},
	"two things revoked":             {kind: "TokenRevocation", spec: `{keyID: k, sessionID: s}`, wantErr: "exactly one of tokenID, sessionID, subject and keyID"},
	"a session revoked before":       {kind: "TokenRevocation", spec: `{sessionID: s, issuedBefore: "2026-01-01T00:00:00Z"}`, wantErr: "issuedBefore applies to subject only"},
	"a key revoked for a time":       {kind: "TokenRevocation", spec: `{keyID: k, expires: "2026-01-01T00:00:00Z"}`, wantErr: "a key stays refused until the object is deleted"},
	"a key revoked":                  {kind: "TokenRevocation", spec: `{keyID: k, issuer: i}`},
	"a text of many bytes revoked":   {kind: "TokenRevocation", spec: `{subject: ` + strings.Repeat("é", 257) + `}`, wantErr: "at most 512 bytes"},
	"a text of 512 bytes revoked":    {kind: "TokenRevocation", spec: `{subject: ` + strings.Repeat("é", 256) + `}`},
	"a class with budgets":           {kind: "SidecarClass", spec: `{requests: {max: 10, maxPerAddress: 5, minBodyRate: 0}, upgrades: {max: 10, maxPerAddress: 5}}`},
	"more requests for one":          {kind: "SidecarClass", spec: `{requests: {max: 10, maxPerAddress: 11}}`, wantErr: "maxPerAddress is greater than max"},
	"more upgrades for one":          {kind: "SidecarClass", spec: `{upgrades: {max: 10, maxPerAddress: 11}}`, wantErr: "maxPerAddress is greater than max"},
	"a class with Vault":             {kind: "SidecarClass", spec: vault(`https://vault.example.com:8200`, `kubernetes: {role: r}`)},
	"a class with a Vault Agent":     {kind: "SidecarClass", spec: vault(`http://127.0.0.1:8200`, `tokenFile: /run/token`)},
	"a Vault in the clear":           {kind: "SidecarClass", spec: vault(`http://vault.example.com:8200`, `kubernetes: {role: r}`), wantErr: "address is not an https URL"},
	"a Vault at a loopback address":  {kind: "SidecarClass", spec: vault(`http://[::1]:8200`, `tokenFile: /run/token`)},
	"a Vault at a path":              {kind: "SidecarClass", spec: vault(`https://v/vault`, `kubernetes: {role: r}`), wantErr: "address is not an https URL"},
	"a Vault's times":                {kind: "SidecarClass", spec: vaultTimes(`timeout: 1s, pollInterval: 10s, maxStale: 1m`)},
	"a Vault that may take forever":  {kind: "SidecarClass", spec: vaultTimes(`timeout: 61s`), wantErr: "timeout is not between 100ms and 60s"},
	"a Vault that is asked always":   {kind: "SidecarClass", spec: vaultTimes(`pollInterval: 10ms`), wantErr: "pollInterval is not between 1s and 1h"},
	"a Vault's value for no time":    {kind: "SidecarClass", spec: vaultTimes(`maxStale: 30s`), wantErr: "maxStale is less than twice the pollInterval"},
	"a Vault's value forever":        {kind: "SidecarClass", spec: vaultTimes(`maxStale: 9000h`), wantErr: "maxStale is more than 8760h"},
	"a Vault with no way in":         {kind: "SidecarClass", spec: vault(`https://v`, ``), wantErr: "set exactly one of kubernetes, appRole and tokenFile"},
	"a Vault with two ways in":       {kind: "SidecarClass", spec: vault(`https://v`, `kubernetes: {role: r}, appRole: {roleID: r}`), wantErr: "set exactly one of kubernetes, appRole and tokenFile"},
	"a user without a password":      {kind: "SidecarClass", spec: redis(`addresses: ["r:6379"], username: u`), wantErr: "username needs a password"},
	"a password in Vault":            {kind: "SidecarClass", spec: redis(`addresses: ["r:6379"], passwordRef: {vault: {path: secret/redis, key: password}}`)},
	"a password in two places":       {kind: "SidecarClass", spec: redis(`addresses: ["r:6379"], passwordRef: {vault: {path: secret/redis, key: p}, secretKeyRef: {name: s, key: k}}`), wantErr: "exactly one of vault and secretKeyRef"},
	"a certificate without its key":  {kind: "SidecarClass", spec: redis(`addresses: ["r:6379"], tls: {certificateRef: {secretKeyRef: {name: s, key: k}}}`), wantErr: "certificateRef and keyRef need each other"},
	"the least class":                {kind: "SidecarClass", spec: `{}`},
	"trusted proxies":                {kind: "SidecarClass", spec: `{trustedProxies: [10.0.0.0/8, "2001:db8::/32"]}`},
	"a proxy that is no CIDR":        {kind: "SidecarClass", spec: `{trustedProxies: [10.0.0.1]}`, wantErr: "no network in CIDR notation"},
	"connections":                    {kind: "SidecarClass", spec: `{connections: {max: 16, maxPerAddress: 16, idleTimeout: 1h}}`},
	"too few connections":            {kind: "SidecarClass", spec: `{connections: {max: 15}}`, wantErr: "max"},
	"a share beyond the whole":       {kind: "SidecarClass", spec: `{connections: {max: 20, maxPerAddress: 21}}`, wantErr: "maxPerAddress is greater than max"},
	"connections idle for a day":     {kind: "SidecarClass", spec: `{connections: {idleTimeout: 24h}}`, wantErr: "idleTimeout is not between 1s and 1h"},
	"redis":                          {kind: "SidecarClass", spec: redis(`addresses: ["r:6379"], timeout: 100ms`)},
	"redis with two addresses":       {kind: "SidecarClass", spec: redis(`addresses: ["r:6379", "s:6379"]`), wantErr: "mode Standalone has exactly one address"},
	"redis without a port":           {kind: "SidecarClass", spec: redis(`addresses: [r]`), wantErr: "write host:port, such as redis.shop.svc:6379"},
	"sentinel":                       {kind: "SidecarClass", spec: redis(`mode: Sentinel, masterName: m, addresses: ["r:26379", "s:26379"], sentinelPasswordRef: {secretKeyRef: {name: s, key: k}}`)},
	"sentinel without a master":      {kind: "SidecarClass", spec: redis(`mode: Sentinel, addresses: ["r:26379"]`), wantErr: "mode Sentinel needs masterName"},
	"a master without sentinel":      {kind: "SidecarClass", spec: redis(`masterName: m, addresses: ["r:6379"]`), wantErr: "mode Sentinel needs masterName"},
	"sentinel's password without it": {kind: "SidecarClass", spec: redis(`addresses: ["r:6379"], sentinelPasswordRef: {secretKeyRef: {name: s, key: k}}`), wantErr: "sentinelPasswordRef applies to mode Sentinel only"},
	"cluster":                        {kind: "SidecarClass", spec: redis(`mode: Cluster, addresses: ["r:6379", "s:6379"]`)},
	"cluster with a database":        {kind: "SidecarClass", spec: redis(`mode: Cluster, database: 1, addresses: ["r:6379"]`), wantErr: "database 0 only"},
	"too long a timeout":             {kind: "SidecarClass", spec: redis(`addresses: ["r:6379"], timeout: 10s`), wantErr: "timeout is not between 5ms and 5s"},
}

func (v validation) manifest(i int) string {
	kind, namespace := cmp.Or(v.kind, "SecurityPolicy"), ", namespace: default"
	if kind == "SidecarClass" {
		namespace = ""
	}
	return fmt.Sprintf("{apiVersion: postern.dev/v1alpha1, kind: %s, metadata: {name: case-%d%s}, spec: %s}", kind, i, namespace, v.spec)
}

func (v validation) judge(t *testing.T, err error) {
	t.Helper()
	switch {
	case v.wantErr == "" && err != nil:
		t.Errorf("refused: %v", err)
	case v.wantErr != "" && err == nil:
		t.Errorf("accepted; want a refusal with %q", v.wantErr)
	case v.wantErr != "" && !strings.Contains(err.Error(), v.wantErr):
		t.Errorf("refused with %v; want %q", err, v.wantErr)
	}
	// The pattern of paths is the only one without a message: see TestPatternsHaveMessages.
	for _, text := range raw {
		if err != nil && strings.Contains(err.Error(), text) && !strings.Contains(v.spec, "paths:") {
			t.Errorf("the refusal shows %q: %v", text, err)
		}
	}
}

// TestValidationOffline judges with the CRDs' schemas and rules alone, as postern lint does.
func TestValidationOffline(t *testing.T) {
	for name, v := range allValidations() {
		t.Run(name, func(t *testing.T) {
			_, findings, err := manifest.Read(t.Context(), []byte(v.manifest(0)))
			for _, f := range findings {
				err = errors.Join(err, errors.New(f.Message))
			}
			v.judge(t, err)
		})
	}
}

// TestValidation asks a real API server the same.
func TestValidation(t *testing.T) {
	c := apiServer(t)
	all := allValidations()
	for i, name := range slices.Sorted(maps.Keys(all)) {
		v := all[name]
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(v.manifest(i)), &object.Object); err != nil {
				t.Fatal(err)
			}
			err := c.Create(t.Context(), object)
			if err != nil && !apierrors.IsInvalid(err) {
				t.Fatal(err)
			}
			if err == nil {
				remove(t, c, object)
			}
			v.judge(t, err)
		})
	}
}

// TestUnknownFieldsAreRefused by an API server that is asked to, as kubectl does by default.
func TestUnknownFieldsAreRefused(t *testing.T) {
	c := client.WithFieldValidation(apiServer(t), "Strict")
	object := &unstructured.Unstructured{}
	text := validation{spec: `{selector: {}, rateLimit: []}`}.manifest(0)
	if err := yaml.Unmarshal([]byte(text), &object.Object); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(t.Context(), object); err == nil || !strings.Contains(err.Error(), `unknown field "spec.rateLimit"`) {
		t.Errorf("error = %v", err)
	}
}

func breachedAt(list string) string {
	return `{selector: {}, passwordPolicy: {rules: {breachedPasswords: {` + list + `}}}}`
}

func breachedLogin(route, list string) string {
	return `{selector: {}, loginProtection: {routes: [{name: a, match: [{paths: [/login]}], ` + route + `}], breachedPasswords: {url: "https://p.example.com/range"` + list + `}}}`
}

// keysRef is the key file of a section of API keys.
const keysRef = `keysRef: {secretKeyRef: {name: shop-keys, key: keys.yaml}}`
const usersRef = `usersRef: {secretKeyRef: {name: shop-keys, key: keys.yaml}}`
