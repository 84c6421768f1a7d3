package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/test/servertest"
)

const boundPolicy = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: app, namespace: shop}
spec:
  selector: {matchLabels: {app: app}}
  ports: [{port: 8080}]
  tls:
    mode: Require
    certificates: [{secretRef: {name: app-tls}}]
    clientCertificates: {mode: Optional, caRef: {secretKeyRef: {name: clients-ca, key: ca.crt}}}
  jwt:
    providers:
    - {name: corp, issuer: "https://id.example.com", audiences: [orders], algorithms: [ES256], jwks: {uri: "https://id.invalid/jwks.json"}}
  authorization: {default: Authenticated}
`

// boundTokens are a policy with what clients prove that a token was issued to them: its file, its keys and its Secrets, a DPoP key and a certificate.
type boundTokens struct {
	dir, policy string
	sign        func(cnf string) string
	key         *ecdsa.PrivateKey
	thumbprint  string
	sum         string
}

func newBoundTokens(t *testing.T) *boundTokens {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	leaf, _, err := authority.Issue("web", nil)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := servertest.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := stranger.Issue("web", nil)
	if err != nil {
		t.Fatal(err)
	}
	issuer := mustRun(t, "", "token", "new-key")
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"policy.yaml": []byte(boundPolicy), "jwks.json": []byte(mustRun(t, issuer, "token", "jwks", "--key", "-")), "client.pem": leaf, "other.pem": other,
		"secrets/clients-ca/ca.crt": authority.Certificate,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	block, _ := pem.Decode(leaf)
	b := &boundTokens{dir: dir, policy: filepath.Join(dir, "policy.yaml"), key: key, sum: sum(block.Bytes)}
	jwk := b.jwk(t)
	b.thumbprint = sum([]byte(`{"crv":"P-256","kty":"EC","x":"` + jwk["x"] + `","y":"` + jwk["y"] + `"}`)) // RFC 7638
	b.sign = func(cnf string) string {
		return strings.TrimSpace(mustRun(t, issuer, "token", "sign", "--key", "-", "--issuer", "https://id.example.com", "--audience", "orders", "--subject", "ada", "--claim", "cnf="+cnf))
	}
	return b
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(s[:])
}

func (b *boundTokens) jwk(t *testing.T) map[string]string {
	point, err := b.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	return map[string]string{"kty": "EC", "crv": "P-256", "x": text(point[1:33]), "y": text(point[33:])}
}

// proof is a header DPoP for GET https://app.example.com/orders with the token.
func (b *boundTokens) proof(t *testing.T, token string) string {
	t.Helper()
	p := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"jti": rand.Text(), "htm": "GET", "htu": "https://app.example.com/orders", "iat": time.Now().Unix(), "ath": sum([]byte(token)),
	})
	p.Header["typ"], p.Header["jwk"] = "dpop+jwt", b.jwk(t)
	signed, err := p.SignedString(b.key)
	if err != nil {
		t.Fatal(err)
	}
	return "DPoP: " + signed
}

func (b *boundTokens) explain(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	args = append([]string{"explain", "-f", b.policy, "--path", "/orders", "--secrets-dir", filepath.Join(b.dir, "secrets")}, args...)
	out := mustRun(t, stdin, args...)
	if strings.Contains(out, "eyJ") {
		t.Errorf("a token is in:\n%s", out)
	}
	return out
}

// TestExplainBoundToken: the scheme, proof and certificate of a request decide as in a pod.
func TestExplainBoundToken(t *testing.T) {
	b := newBoundTokens(t)
	byKey, byCertificate := b.sign(`{"jkt":"`+b.thumbprint+`"}`), b.sign(`{"x5t#S256":"`+b.sum+`"}`)
	file := func(name string) string { return filepath.Join(b.dir, name) }
	jwks := []string{"--jwks", file("jwks.json")}
	for name, tt := range map[string]struct {
		stdin string
		args  []string
		want  []string
	}{
		"a proof beside the token":   {byKey, []string{"--token", "-", "--header", b.proof(t, byKey)}, []string{`"corp" is valid`, "HTTP/1.1 200"}},
		"the scheme in a header":     {"", []string{"--header", "Authorization: DPoP " + byKey, "--header", b.proof(t, byKey)}, []string{`"corp" is valid`, "HTTP/1.1 200"}},
		"the scheme in lower case":   {"", []string{"--header", "authorization: dpop " + byKey, "--header", b.proof(t, byKey)}, []string{`"corp" is valid`, "HTTP/1.1 200"}},
		"the scheme, without proof":  {"", []string{"--header", "Authorization: DPoP " + byKey}, []string{"401 invalid-dpop-proof", `DPoP realm="app"`}},
		"the proof of another token": {byKey, []string{"--token", "-", "--header", b.proof(t, byCertificate)}, []string{"401 invalid-dpop-proof"}},
		"no token in the scheme":     {"", []string{"--header", "Authorization: DPoP x", "--header", b.proof(t, byKey)}, []string{"401 invalid-token", `DPoP realm="app"`}},
		"the certificate":            {byCertificate, []string{"--token", "-", "--client-certificate-file", file("client.pem")}, []string{`"corp" is valid`, "HTTP/1.1 200"}},
		"without the certificate":    {byCertificate, []string{"--token", "-"}, []string{"401 invalid-token", "client certificate"}},
		"a certificate of the run":   {byCertificate, []string{"--token", "-", "--client-certificate", "uri=spiffe://x.example/web,commonName=web"}, []string{"another client certificate"}},
		"of another CA":              {byCertificate, []string{"--token", "-", "--client-certificate-file", file("other.pem")}, []string{"401 client-certificate"}},
		"without TLS":                {byKey, []string{"--token", "-", "--plain"}, []string{"refused: 400 tls-required"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := b.explain(t, tt.stdin, append(tt.args, jwks...)...)
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
		})
	}
}

// TestExplainClientCertificate: a certificate identifies its client, whether it is made for the run or verified with the CA of the policy.
func TestExplainClientCertificate(t *testing.T) {
	b := newBoundTokens(t)
	content := strings.Replace(boundPolicy, "mode: Optional,", "mode: Optional, identity: Subject,", 1)
	if err := os.WriteFile(b.policy, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	file := func(name string) string { return filepath.Join(b.dir, name) }
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"made":          {[]string{"--client-certificate", "commonName=web"}, []string{"HTTP/1.1 200"}},
		"existing":      {[]string{"--client-certificate-file", file("client.pem")}, []string{"HTTP/1.1 200"}},
		"of a wrong CA": {[]string{"--client-certificate-file", file("other.pem")}, []string{"401 client-certificate"}},
		"without the CA": {[]string{"--client-certificate-file", file("client.pem"), "--secrets-dir", b.dir}, []string{
			"401 client-certificate", "missing here: the file " + filepath.Join(b.dir, "clients-ca/ca.crt")}},
		"none": {nil, []string{"401 no-credentials"}},
	} {
		t.Run(name, func(t *testing.T) {
			out := b.explain(t, "", tt.args...)
			for _, want := range tt.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not in:\n%s", want, out)
				}
			}
		})
	}
}

// TestExplainClientErrors: flags that cannot describe a client say what to write.
func TestExplainClientErrors(t *testing.T) {
	b := newBoundTokens(t)
	onlyCertificates := strings.Split(boundPolicy, "  jwt:")[0]
	onlyCertificates = strings.Replace(onlyCertificates, "mode: Optional,", "mode: Optional, identity: Subject,", 1)
	args, _ := writeFiles(t, onlyCertificates)
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"claims of certificates": {append([]string{"--claims", "{}", "--provider", "client-certificates"}, args...), "--client-certificate"},
		"claims with a provider": {[]string{"-f", b.policy, "--claims", "{}", "--provider", "client-certificates"}, "--client-certificate"},
		"an unknown part":        {[]string{"-f", b.policy, "--client-certificate", "cn=web"}, "uri, dns and commonName"},
		"no certificate":         {[]string{"-f", b.policy, "--client-certificate-file", b.policy}, "--client-certificate-file"},
		"two schemes":            {[]string{"-f", b.policy, "--header", "Authorization: DPoP eyJx", "--claims", "{}"}, "has a token already"},
		"a policy without":       {[]string{"-f", samples + "securitypolicy.yaml", "--client-certificate", "commonName=web"}, "has no tls.clientCertificates"},
		"plain":                  {[]string{"-f", b.policy, "--plain", "--client-certificate", "commonName=web"}, "none of the others"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := run(t, "", append([]string{"explain"}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}
