package compile

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/api/v1alpha1"
)

// TestClass: every section of a class is checked, although no policy uses it.
func TestClass(t *testing.T) {
	tests := map[string]struct {
		change func(*v1alpha1.SidecarClassSpec)
		want   string
	}{
		"nothing":                     {func(*v1alpha1.SidecarClassSpec) {}, ""},
		"the CA of Vault":             {func(s *v1alpha1.SidecarClassSpec) { s.Vault.CABundle = "nope" }, "spec.vault.caBundle: the CA bundle contains no PEM certificate"},
		"the address of Vault":        {func(s *v1alpha1.SidecarClassSpec) { s.Vault.Address = "vault:8200" }, "spec.vault.address: "},
		"an auth method":              {func(s *v1alpha1.SidecarClassSpec) { s.Vault.Auth = v1alpha1.VaultAuth{} }, "spec.vault.auth: write exactly one of"},
		"the CA of Redis":             {func(s *v1alpha1.SidecarClassSpec) { s.Redis.TLS = &v1alpha1.RedisTLS{CABundle: "nope"} }, "spec.redis.tls.caBundle: "},
		"the spool":                   {func(s *v1alpha1.SidecarClassSpec) { s.Audit.Spool = &v1alpha1.AuditSpool{MaxBytes: "1KiB"} }, "spec.audit.spool.maxBytes: "},
		"the address of the database": {func(s *v1alpha1.SidecarClassSpec) { s.Database.Address = "postgres" }, "spec.database.address: "},
		"no database":                 {func(s *v1alpha1.SidecarClassSpec) { s.Database, s.Audit = nil, nil }, ""},
		"a duration":                  {func(s *v1alpha1.SidecarClassSpec) { s.DrainTimeout = "soon" }, "spec.drainTimeout: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			class := UnknownClass()
			tt.change(&class.Spec)
			findings := Class(class)
			if tt.want == "" {
				if HasErrors(findings) {
					t.Errorf("found %v", findings)
				}
				return
			}
			if len(findings) != 1 || findings[0].Severity != Error || !strings.HasPrefix(findings[0].String(), tt.want) {
				t.Errorf("found %v, want %s", findings, tt.want)
			}
		})
	}
}
