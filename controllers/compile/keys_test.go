package compile_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

func rsaModulus(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(key.N.Bytes())
}

// pasted returns a policy with a key set written inline.
func pasted(algorithm v1alpha1.Algorithm, set string) *v1alpha1.SecurityPolicy {
	policy := &v1alpha1.SecurityPolicy{}
	policy.Spec.JWT = &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
		Name: "corp", Issuer: "https://id.example.com/realms/shop", Audiences: []string{"shop"}, MaxLifetime: "1h",
		Algorithms: []v1alpha1.Algorithm{algorithm}, JWKS: v1alpha1.JWKS{Inline: set},
	}}}
	return policy
}

// TestPastedKeySets: a set that an issuer publishes can be copied into a policy as it is. Keys that verify no token are a warning.
func TestPastedKeySets(t *testing.T) {
	n := rsaModulus(t)
	keycloak := func(kid, use, alg string) string {
		return fmt.Sprintf(`{"kid":%q,"kty":"RSA","alg":%q,"use":%q,"x5c":["MIICmzCC"],"x5t":"c2hh","x5t#S256":"c2hhMjU2","n":%q,"e":"AQAB"}`, kid, alg, use, n)
	}
	set := func(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }
	const ed = `{"kty":"OKP","crv":"Ed25519","kid":"d","alg":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	many := make([]string, 0, 150)
	for i := range cap(many) {
		many = append(many, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"%d","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, i))
	}
	tests := map[string]struct {
		set          string
		algorithm    v1alpha1.Algorithm
		wantWarnings int
	}{
		"Keycloak":                  {set(keycloak("e", "enc", "RSA-OAEP"), keycloak("s", "sig", "RS256")), "RS256", 1},
		"Keycloak with one kid":     {set(keycloak("k", "enc", "RSA-OAEP"), keycloak("k", "sig", "RS256")), "RS256", 1},
		"RS256 and PS256 of a key":  {set(keycloak("k", "sig", "PS256"), keycloak("k", "sig", "RS256")), "RS256", 1},
		"null members and elements": {set("null", strings.Replace(keycloak("k", "sig", "RS256"), `{`, `{"key_ops":null,"d":null,`, 1)), "RS256", 1},
		"Ed25519":                   {set(ed), "Ed25519", 0},
		"Ed25519 as EdDSA":          {set(ed), "EdDSA", 0},
		"more than 100 keys":        {set(many...), "EdDSA", 0},
		"many that are not used":    {set(append(many, keycloak("k", "sig", "RS256"))...), "RS256", 5},
		"of another issuer beside":  {set(ed, strings.Replace(ed, `{`, `{"issuer":"https://id.example.com/realms/other",`, 1)), "EdDSA", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, findings := compile.Compile(pasted(tt.algorithm, tt.set), &v1alpha1.SidecarClass{})
			for _, f := range findings {
				if f.Severity == compile.Error {
					t.Errorf("refused: %v", f)
				}
			}
			if p == nil || !json.Valid(p.Providers[0].Keys.Inline) || len(findings) != tt.wantWarnings {
				t.Errorf("findings %v; want %d warnings", findings, tt.wantWarnings)
			}
		})
	}
}

// TestAuthenticatedKeySets: what a policy says of key sets reaches the document, and plain HTTP is a warning.
func TestAuthenticatedKeySets(t *testing.T) {
	for name, tt := range map[string]struct {
		jwks     v1alpha1.JWKS
		want     string
		warnings int
	}{
		"the pod's token": {v1alpha1.JWKS{BearerToken: &v1alpha1.BearerToken{ServiceAccount: &v1alpha1.ServiceAccountToken{}}}, `{"serviceAccount":{}}`, 0},
		"an audience":     {v1alpha1.JWKS{BearerToken: &v1alpha1.BearerToken{ServiceAccount: &v1alpha1.ServiceAccountToken{Audience: "id"}}}, `{"serviceAccount":{"audience":"id"}}`, 0},
		"a Secret":        {v1alpha1.JWKS{BearerToken: &v1alpha1.BearerToken{SecretKeyRef: &v1alpha1.SecretKeyRef{Name: "s", Key: "k"}}}, `{"secret":{"name":"s","key":"k"}}`, 0},
		"plain HTTP":      {v1alpha1.JWKS{URI: "http://keys.shop.svc/k", InsecureHTTP: true}, `null`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			policy := pasted("RS256", "")
			if tt.jwks.URI == "" {
				tt.jwks.URI = "https://id.example.com/k"
			}
			policy.Spec.JWT.Providers[0].JWKS = tt.jwks
			p, findings := compile.Compile(policy, &v1alpha1.SidecarClass{})
			if len(findings) != tt.warnings || tt.warnings > 0 && (findings[0].Severity == compile.Error || !strings.HasSuffix(findings[0].Field, "insecureHTTP")) {
				t.Fatalf("findings %v; want %d warnings", findings, tt.warnings)
			}
			if b, err := json.Marshal(p.Providers[0].Keys.Bearer); err != nil || string(b) != tt.want {
				t.Errorf("bearer %s, %v; want %s", b, err, tt.want)
			}
		})
	}
}

// TestAdviceAboutKeys: the warning about a key that verifies no token says what the key is, and what helps. An algorithm for encryption
// can never be one of algorithms.
func TestAdviceAboutKeys(t *testing.T) {
	n := rsaModulus(t)
	key := func(members string) string { return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":"AQAB"%s}`, n, members) }
	for name, tt := range map[string]struct{ key, want, wantNo string }{
		"use enc":         {key(`,"kid":"e","use":"enc","alg":"RSA-OAEP"`), "key 1: it is for encryption (use: enc), so no token is verified with it: it does no harm", "algorithms"},
		"alg of encoding": {key(`,"kid":"e","alg":"RSA-OAEP-256"`), "key 1: it is for encryption (alg: RSA-OAEP-256), so no token is verified with it: it does no harm", "algorithms"},
		"key_ops":         {key(`,"kid":"e","key_ops":["wrapKey"]`), "it does no harm", "algorithms"},
		"not allowed":     {key(`,"kid":"e","alg":"PS256"`), "its alg PS256 is not allowed by the provider, so no token is verified with it: if the issuer signs tokens with it, add its algorithm to algorithms", ""},
		"another issuer":  {key(`,"kid":"e","issuer":"https://b.example"`), "correct issuer", "algorithms"},
		"a shared secret": {`{"kty":"oct","kid":"e","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`, "everyone who can read the policy could sign", "algorithms"},
		"a short key":     {`{"kty":"RSA","kid":"e","n":"AQAB","e":"AQAB"}`, "have the issuer replace it", "algorithms"},
		"half a key":      {`{"kty":"RSA","kid":"e","e":"AQAB"}`, "copy the set from the issuer again", "algorithms"},
	} {
		t.Run(name, func(t *testing.T) {
			_, findings := compile.Compile(pasted("RS256", `{"keys":[`+key(`,"kid":"s"`)+`,`+tt.key+`]}`), &v1alpha1.SidecarClass{})
			if len(findings) != 1 || !strings.Contains(findings[0].Message, tt.want) || tt.wantNo != "" && strings.Contains(findings[0].Message, tt.wantNo) {
				t.Errorf("findings %v; want one with %q", findings, tt.want)
			}
		})
	}
}
