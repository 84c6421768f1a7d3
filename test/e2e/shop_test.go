//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// shopIssuer is the iss of tokens that the sidecars issue.
const shopIssuer = "https://shop.example.com"

// accounts is a policy whose sidecars log users in. All its secrets are in Vault. CLASS, KEY and SECTIONS are placeholders.
const accounts = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: accounts}
spec:
  selector: {matchLabels: {app: accounts}}
  sidecarClassName: CLASS
  tokens:
    issuer: ` + shopIssuer + `
    audiences: [shop]
    claims: [roles]
    signingKey: {transit: {key: KEY}}
    rotation: {overlap: 1m}
    login: [{methods: [POST], paths: [/login]}]
    claimsToHeaders: [{claim: sub, header: X-Auth-Subject}]
  sessions: {idleTimeout: 1h, maxPerSubject: 3}
  authorization:
    rules:
    - {name: public, match: [{paths: [/public/**]}], require: Anonymous}
`

// tokens are the tokens of a login.
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
	User    string `json:"user"`
}

// shop is a Deployment of two pods that log users in.
type shop struct {
	*space
	vault *vaultServer
	urls  []string
}

// newShop deploys the app with its own policy, class and keys in Vault. labels are labels of the namespace.
func newShop(t *testing.T, interception v1alpha1.Interception, labels []string, changes ...change) *shop {
	t.Helper()
	s := &shop{space: newSpace(t, labels...), vault: newVault(t)}
	s.vault.makeKey(t, s.name)
	s.vault.put(t, "secret/e2e/"+s.name, map[string]any{"redis-password": s.redisPassword()})
	class := s.vault.class("e2e/" + s.name)
	class["interception"] = interception
	s.class(s.name, class)
	s.apply(accounts, "CLASS", s.name, "KEY", s.name)
	s.deploy("accounts", 2, changes...)
	s.rolledOut("accounts")
	s.enforced("accounts", 2)
	pods := s.pods("accounts")
	for i := range pods {
		s.urls = append(s.urls, podURL(&pods[i], appPort))
	}
	return s
}

// login logs in as the app's login page does. The app responds only with Postern-Subject.
func (s *shop) login(t *testing.T, url, user, agent string) (tokens, response) {
	t.Helper()
	body := fmt.Sprintf(`{"user":%q,"password":"demo"}`, user)
	got := do(t, http.MethodPost, url+"/login", body, "Content-Type: application/json", "User-Agent: "+agent)
	var tk tokens
	if got.status == http.StatusOK {
		if err := json.Unmarshal([]byte(got.body), &tk); err != nil {
			t.Fatalf("reading tokens: %v: %.200q", err, got.body)
		}
	}
	return tk, got
}

// mustLogin logs in and fails the test on an error.
func (s *shop) mustLogin(t *testing.T, url, user, agent string) tokens {
	t.Helper()
	tk, got := s.login(t, url, user, agent)
	if tk.Access == "" || tk.Refresh == "" || tk.Type != "Bearer" || tk.Expires <= 0 || tk.User != user {
		t.Fatalf("login: %d %v %.300q", got.status, got.header, got.body)
	}
	return tk
}

// refresh is RFC 6749 §6.
func (s *shop) refresh(t *testing.T, url, token string) (tokens, response) {
	t.Helper()
	got := do(t, http.MethodPost, url+"/auth/refresh", "grant_type=refresh_token&refresh_token="+token, "Content-Type: application/x-www-form-urlencoded")
	var tk tokens
	_ = json.Unmarshal([]byte(got.body), &tk)
	return tk, got
}

// refusedBy waits until every pod refuses the token with that code.
func (s *shop) refusedBy(t *testing.T, token, code string) {
	t.Helper()
	for _, url := range s.urls {
		got := eventuallyStatus(t, http.StatusUnauthorized, url+"/whoami", bearer(token))
		if !strings.Contains(got.body, code) || !strings.Contains(got.header.Get("WWW-Authenticate"), "invalid_token") {
			t.Errorf("%s: the refusal is %v %s; want %s", url, got.header, got.body, code)
		}
	}
}

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	chrome  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)

// redisPassword returns the password of the bundled Redis.
func (s *space) redisPassword() string {
	s.t.Helper()
	secret := &corev1.Secret{}
	if err := s.c.Get(s.t.Context(), s.key("postern-redis"), secret); err != nil {
		s.t.Fatal(err)
	}
	secrets.add("the password of Redis", string(secret.Data["password"]))
	return string(secret.Data["password"])
}

// write writes to Vault as administrator.
func (v *vaultServer) write(t *testing.T, path string, data map[string]any) {
	t.Helper()
	if _, err := v.Logical().WriteWithContext(t.Context(), path, data); err != nil {
		t.Fatalf("writing %s to Vault: %v", path, err)
	}
}

// makeKey creates a Transit key. rotate creates its next version.
func (v *vaultServer) makeKey(t *testing.T, name string) {
	t.Helper()
	v.write(t, "transit/keys/"+name, map[string]any{"type": "ecdsa-p256"})
}

func (v *vaultServer) rotate(t *testing.T, name string) {
	t.Helper()
	v.write(t, "transit/keys/"+name+"/rotate", nil)
}

// class is the spec of a SidecarClass. The password of its Redis is in Vault, too.
func (v *vaultServer) class(secret string) map[string]any {
	return map[string]any{
		"redis": map[string]any{
			"addresses":   []any{"postern-redis." + systemNamespace + ".svc:6379"},
			"passwordRef": map[string]any{"vault": map[string]any{"path": "secret/" + secret, "key": "redis-password"}},
		},
		"vault": map[string]any{
			"address": "https://vault." + vaultNamespace + ".svc:8200", "caBundle": string(v.ca), "pollInterval": "2s",
			"auth": map[string]any{"kubernetes": map[string]any{"role": "postern"}},
		},
	}
}

// class creates a SidecarClass and deletes it at the end of the test.
func (s *space) class(name string, spec map[string]any) {
	s.t.Helper()
	b, err := json.Marshal(map[string]any{
		"apiVersion": "postern.dev/v1alpha1", "kind": "SidecarClass", "metadata": map[string]any{"name": name}, "spec": spec,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.apply(string(b))
	s.t.Cleanup(func() { _, _ = kubectl("delete", "sidecarclass", name, "--wait=false") })
}

// decodePart decodes a part of a token without verification.
func decodePart(token string, part int, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("not a signed token")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func errStatus(a response) error { return fmt.Errorf("status %d: %.200q", a.status, a.body) }
