package main

import (
	"strings"
	"testing"
)

// certificatesOnly is a policy whose clients have certificates and no tokens. Its lines are counted by TestLintTLS.
const certificatesOnly = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: app, namespace: shop}
spec:
  selector: {matchLabels: {app: app}}
  ports: [{port: 8080}]
  tls:
    mode: Require
    minVersion: "1.2"
    certificates: [{secretRef: {name: app-tls}}]
    clientCertificates:
      mode: Optional
      caRef: {secretKeyRef: {name: clients-ca, key: ca.crt}}
      identity: URISAN
  authorization:
    default: Deny
    rules:
    - name: web
      match: [{paths: ["/**"]}]
      providers: [client-certificates]
      claims: [{claim: sub, any: [spiffe://example.org/web]}]
`

// TestLintTLS: a mistake in TLS has one finding, at its line, with the remedy.
func TestLintTLS(t *testing.T) {
	const more = "more findings may follow"
	for name, tt := range map[string]struct {
		replace  []string
		want     []string
		wantNot  []string
		wantMore bool
	}{
		"good": {nil, []string{"is valid"}, []string{"warning", "error"}, false},
		"no identity": {[]string{"      identity: URISAN\n", ""},
			[]string{":16: error", "spec.authorization.rules", "tls.clientCertificates"}, nil, true},
		"no identity, another provider": {[]string{"      identity: URISAN\n", "", "  authorization:", "  apiKeys: {from: [{header: X-Key}], keysRef: {secretKeyRef: {name: k, key: k}}}\n  authorization:"},
			[]string{"rules[0].providers[0]", "write tls.clientCertificates.identity"}, []string{"add jwt.providers"}, false},
		"mode None": {[]string{"mode: Optional", "mode: None"},
			[]string{"mode: Optional or Require"}, []string{"write one of \n", "write one of"}, false},
		"toApp, mode None": {[]string{"mode: Optional", "mode: None", "default: Deny", "default: Anonymous", "      providers: [client-certificates]\n      claims: [{claim: sub, any: [spiffe://example.org/web]}]\n", "      require: Anonymous\n",
			"  authorization:", "  forwardClientCert: {toApp: [Hash]}\n  authorization:"},
			[]string{"toApp", "mode: Optional or Require"}, nil, false},
		"a version without quotes": {[]string{`"1.2"`, "1.3"}, []string{`:9: error`, `write "1.3"`}, []string{"supported values", "words such as"}, true},
		"Require under Permissive": {[]string{"mode: Require", "mode: Permissive", "mode: Optional", "mode: Require"},
			[]string{":12: error", "spec.tls.clientCertificates.mode"}, nil, true},
		"an unknown claim":            {[]string{"claim: sub,", "claim: subject,"}, []string{":21: warning", "rules[0].claims[0].claim", "cn, dns, o, ou, sub, uris"}, nil, false},
		"an unknown claim for header": {[]string{"identity: URISAN\n", "identity: URISAN\n      claimsToHeaders: [{claim: subject, header: X-Client}]\n"}, []string{"warning", "claimsToHeaders[0].claim", "cn, dns, o, ou, sub, uris"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			policy := strings.NewReplacer(tt.replace...).Replace(certificatesOnly)
			args, _ := writeFiles(t, policy)
			stdout, stderr, _ := run(t, "", append([]string{"lint"}, args...)...)
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("%q is not in:\n%s", want, stdout)
				}
			}
			for _, not := range tt.wantNot {
				if strings.Contains(stdout, not) {
					t.Errorf("%q is in:\n%s", not, stdout)
				}
			}
			if strings.Contains(stderr, more) != tt.wantMore {
				t.Errorf("on standard error:\n%s; want %q: %t", stderr, more, tt.wantMore)
			}
		})
	}
}
