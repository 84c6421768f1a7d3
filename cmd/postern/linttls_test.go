package main

import (
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/test/servertest"
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

// TestLintCertificates: a certificate of the files that no sidecar can use is a warning without a part of its key.
func TestLintCertificates(t *testing.T) {
	authority, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	issue := func(change func(*x509.Certificate)) (chain, key string) {
		c, k, err := authority.Issue("app.example.com", change)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(c), base64.StdEncoding.EncodeToString(k)
	}
	chain, key := issue(nil)
	_, other := issue(nil)
	expired, expiredKey := issue(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(1e9, 0), time.Unix(1.1e9, 0) })
	for name, tt := range map[string]struct{ chain, key, want string }{
		"good":           {chain, key, ""},
		"another key":    {chain, other, "cannot use it for TLS"},
		"expired":        {expired, expiredKey, "expired at 2004-11-09T11:33:20Z"},
		"an empty chain": {`""`, key, "its tls.crt is empty"},
		"an empty key":   {chain, `""`, "its tls.key is empty"},
		"no PEM":         {"aGVsbG8=", key, "cannot use it for TLS"},
		"not in base64":  {"'%'", key, "not base64"},
		"exchanged":      {key, chain, "cannot use it for TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: app-tls, namespace: shop}\ntype: kubernetes.io/tls\ndata: {tls.crt: " + tt.chain + ", tls.key: " + tt.key + "}\n"
			args, _ := writeFiles(t, certificatesOnly, secret)
			stdout, stderr, err := run(t, "", append([]string{"lint"}, args...)...)
			if err != nil || !strings.Contains(stdout, tt.want) || (tt.want == "") == strings.Contains(stdout, "warning") || strings.Contains(stdout, "PRIVATE") {
				t.Errorf("%v\n%s%s; want %q", err, stdout, stderr, tt.want)
			}
		})
	}
}

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
