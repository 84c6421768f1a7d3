package compile

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// ofClass is the prefix of the fields of findings about a class.
const ofClass = "sidecarClass."

// Class returns what is wrong with a class, whether or not a policy uses the section. A class is checked by compiling a policy that uses
// all of it.
func Class(class *v1alpha1.SidecarClass) []Finding {
	user := &v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "empty"}}
	if class.Spec.Vault != nil { // a document without a value of Vault has no Vault
		user.Spec.JWT = &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
			Name: "vault", Issuer: "https://id.example.com", Audiences: []string{"empty"}, Algorithms: []v1alpha1.Algorithm{"ES256"},
			JWKS: v1alpha1.JWKS{Vault: &v1alpha1.VaultRef{Path: "secret/empty", Key: "jwks"}},
		}}}
	}
	user.Spec.Audit = &v1alpha1.Audit{Sinks: []v1alpha1.AuditSink{v1alpha1.AuditLog}}
	if class.Spec.Database != nil {
		user.Spec.Audit.Sinks = append(user.Spec.Audit.Sinks, v1alpha1.AuditPostgreSQL)
	}
	_, all := Compile(user, class)
	var findings []Finding
	for _, f := range all {
		if field, ok := strings.CutPrefix(f.Field, ofClass); ok {
			f.Field = field
			findings = append(findings, f)
		}
	}
	return findings
}
