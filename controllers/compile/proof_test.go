package compile_test

import (
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// TestProofs: unset methods are those that the sidecar can check.
func TestProofs(t *testing.T) {
	const mutual = `tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {caRef: {secretKeyRef: {name: c, key: ca.crt}}}}`
	tests := map[string]struct {
		proof, rest string
		want        *compiled.ProofOfPossession
		wantMethods []string
	}{
		"unset":                        {proof: ``},
		"None":                         {proof: `proofOfPossession: {mode: None}`, want: &compiled.ProofOfPossession{Mode: compiled.ProofNone}},
		"default":                      {proof: `proofOfPossession: {}`, want: &compiled.ProofOfPossession{Mode: compiled.ProofOptional}, wantMethods: []string{"DPoP"}},
		"default with TLS":             {proof: `proofOfPossession: {mode: Require}`, rest: mutual, want: &compiled.ProofOfPossession{Mode: compiled.ProofRequire}, wantMethods: []string{"mTLS", "DPoP"}},
		"default behind a gateway":     {proof: `proofOfPossession: {}`, rest: `forwardClientCert: {fromProxies: Use}`, want: &compiled.ProofOfPossession{Mode: compiled.ProofOptional}, wantMethods: []string{"mTLS", "DPoP"}},
		"one method":                   {proof: `proofOfPossession: {methods: [mTLS]}`, rest: mutual, want: &compiled.ProofOfPossession{Mode: compiled.ProofOptional}, wantMethods: []string{"mTLS"}},
		"certificates are not asked":   {proof: `proofOfPossession: {}`, rest: `tls: {mode: Require, certificates: [{secretRef: {name: a}}]}`, want: &compiled.ProofOfPossession{Mode: compiled.ProofOptional}, wantMethods: []string{"DPoP"}},
		"header is only passed on":     {proof: `proofOfPossession: {}`, rest: `forwardClientCert: {fromProxies: Forward}`, want: &compiled.ProofOfPossession{Mode: compiled.ProofOptional}, wantMethods: []string{"DPoP"}},
		"clientCertificates mode None": {proof: `proofOfPossession: {}`, rest: `tls: {mode: Require, certificates: [{secretRef: {name: a}}], clientCertificates: {mode: None}}`, want: &compiled.ProofOfPossession{Mode: compiled.ProofOptional}, wantMethods: []string{"DPoP"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var policy v1alpha1.SecurityPolicy
			policy.Namespace, policy.Name = "shop", "orders"
			text := `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/k"}, ` + tt.proof + "}]}\n" + tt.rest
			if err := yaml.UnmarshalStrict([]byte(text), &policy.Spec); err != nil {
				t.Fatal(err)
			}
			p, findings := compile.Compile(&policy, &v1alpha1.SidecarClass{})
			if p == nil {
				t.Fatalf("findings: %v", findings)
			}
			got := p.Providers[0].ProofOfPossession
			if (got == nil) != (tt.want == nil) {
				t.Fatalf("%+v", got)
			}
			if got != nil && (got.Mode != tt.want.Mode || !slices.Equal(got.Methods, tt.wantMethods) || (got.DPoP != nil) != slices.Contains(tt.wantMethods, "DPoP")) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestPlacesWithoutUse: DPoP alone makes the other places of tokens useless.
func TestPlacesWithoutUse(t *testing.T) {
	for methods, wants := range map[string]bool{"[DPoP]": true, "[DPoP, mTLS]": false} {
		var policy v1alpha1.SecurityPolicy
		policy.Namespace, policy.Name = "shop", "orders"
		text := `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], from: [{cookie: c}], jwks: {uri: "https://id.example.com/k"}, proofOfPossession: {mode: Require, methods: ` + methods + `}}]}
forwardClientCert: {fromProxies: Use}`
		if err := yaml.UnmarshalStrict([]byte(text), &policy.Spec); err != nil {
			t.Fatal(err)
		}
		_, findings := compile.Compile(&policy, &v1alpha1.SidecarClass{})
		warned := slices.ContainsFunc(findings, func(f compile.Finding) bool {
			return f.Field == "spec.jwt.providers[0].from" && f.Severity == compile.Warning
		})
		if warned != wants {
			t.Errorf("%s: %v", methods, findings)
		}
	}
}
