package compile_test

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// TestFindingsOfTLS: findings of policies that have others as well, under a class with all sections.
func TestFindingsOfTLS(t *testing.T) {
	tests := map[string]struct {
		spec, wantField, wantMessage string
		wantSeverity                 compile.Severity
	}{
		"a lifetime of a minute": {
			spec:      `tls: {mode: Require, certificates: [{vault: {pki: {role: r, commonName: a, ttl: 1m}}}]}`,
			wantField: "spec.tls.certificates[0].vault.pki.ttl", wantMessage: "not between 5m0s", wantSeverity: compile.Error,
		},
		"a certificate's provider without identity": {
			spec:      `{tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {caRef: {secretKeyRef: {name: c, key: ca.crt}}}}, authorization: {default: Anonymous, rules: [{name: a, match: [{}], providers: [client-certificates]}]}}`,
			wantField: "spec.authorization.rules[0].providers[0]", wantMessage: "write tls.clientCertificates.identity", wantSeverity: compile.Error,
		},
		"a name that is none": {
			spec:      `tls: {mode: Require, certificates: [{vault: {pki: {role: r, commonName: a..b}}}]}`,
			wantField: "spec.tls.certificates[0].vault.pki.commonName", wantMessage: "not a DNS name", wantSeverity: compile.Error,
		},
		"a name with a comma": {
			spec:      `tls: {mode: Require, certificates: [{vault: {pki: {role: r, commonName: a, altNames: ["b,c"]}}}]}`,
			wantField: "spec.tls.certificates[0].vault.pki.altNames[0]", wantMessage: "not a DNS name", wantSeverity: compile.Error,
		},
		"a role above the engine": {
			spec:      `tls: {mode: Require, certificates: [{vault: {pki: {role: .., commonName: a}}}]}`,
			wantField: "spec.tls.certificates[0].vault.pki.role", wantMessage: "not the name of a role", wantSeverity: compile.Error,
		},
		"certificates of clients that speak plain HTTP": {
			spec:      `tls: {mode: Permissive, certificates: [{secretRef: {name: a}}], clientCertificates: {mode: Require, caRef: {secretKeyRef: {name: c, key: ca.crt}}}}`,
			wantField: "spec.tls.clientCertificates.mode", wantMessage: "does not hold for plain HTTP", wantSeverity: compile.Error,
		},
		"a provider with the name of certificates": {
			spec: `{jwt: {providers: [{name: client-certificates, issuer: i, audiences: [x], algorithms: [HS256], jwks: {secretKeyRef: {name: s, key: k}}}]},
				tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {caRef: {secretKeyRef: {name: c, key: ca.crt}}, identity: URISAN}}}`,
			wantField: "spec.jwt.providers[0].name", wantMessage: "unique name", wantSeverity: compile.Error,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var policy v1alpha1.SecurityPolicy
			if err := yaml.UnmarshalStrict([]byte(tt.spec), &policy.Spec); err != nil {
				t.Fatal(err)
			}
			_, findings := compile.Compile(&policy, compile.UnknownClass())
			if !slices.ContainsFunc(findings, func(f compile.Finding) bool {
				return f.Field == tt.wantField && f.Severity == tt.wantSeverity && strings.Contains(f.Message, tt.wantMessage)
			}) {
				t.Errorf("findings %v; want %s at %s: %s", findings, tt.wantSeverity, tt.wantField, tt.wantMessage)
			}
		})
	}
}
