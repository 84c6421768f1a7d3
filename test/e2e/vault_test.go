//go:build e2e

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// vaultNamespace is where run.sh starts Vault.
const vaultNamespace = "vault"

// vaultServer is the cluster's Vault, as its administrator sees it.
type vaultServer struct {
	*api.Client
	ca string
}

func openVault(t *testing.T) *vaultServer {
	t.Helper()
	c := connect(t)
	get := func(name string, object client.Object) {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: vaultNamespace, Name: name}, object); err != nil {
			t.Fatalf("reading %s of Vault: %v", name, err)
		}
	}
	service, tls, root := &corev1.Service{}, &corev1.Secret{}, &corev1.Secret{}
	get("vault", service)
	get("vault-tls", tls)
	get("vault-root", root)
	v := &vaultServer{ca: string(tls.Data["tls.crt"])}
	config := api.DefaultConfig()
	config.Address = fmt.Sprintf("https://%s:8200", service.Spec.ClusterIP)
	if err := config.ConfigureTLS(&api.TLSConfig{CACertBytes: tls.Data["tls.crt"], TLSServerName: "vault." + vaultNamespace + ".svc"}); err != nil {
		t.Fatal(err)
	}
	var err error
	if v.Client, err = api.NewClient(config); err != nil {
		t.Fatal(err)
	}
	v.SetToken(string(root.Data["token"]))
	return v
}

func (v *vaultServer) write(t *testing.T, path string, data map[string]any) {
	t.Helper()
	if _, err := v.Logical().WriteWithContext(t.Context(), path, data); err != nil {
		t.Fatalf("writing %s to Vault: %v", path, err)
	}
}

// put writes a version of a KV secret below secret/.
func (v *vaultServer) put(t *testing.T, name string, values map[string]any) {
	t.Helper()
	v.write(t, "secret/data/"+name, map[string]any{"data": values})
}

// makeKey makes a Transit key, and rotate its next version.
func (v *vaultServer) makeKey(t *testing.T, name string) {
	t.Helper()
	v.write(t, "transit/keys/"+name, map[string]any{"type": "ecdsa-p256"})
}

func (v *vaultServer) rotate(t *testing.T, name string) {
	t.Helper()
	v.write(t, "transit/keys/"+name+"/rotate", nil)
}

// class is the spec of a SidecarClass whose Redis's password lies in Vault, too.
func (v *vaultServer) class(secret string) map[string]any {
	return map[string]any{
		"redis": map[string]any{
			"addresses":   []any{"postern-redis." + systemNamespace + ".svc:6379"},
			"passwordRef": map[string]any{"vault": map[string]any{"path": "secret/" + secret, "key": "redis-password"}},
		},
		"vault": map[string]any{
			"address": "https://vault." + vaultNamespace + ".svc:8200", "caBundle": v.ca, "pollInterval": "2s",
			"auth": map[string]any{"kubernetes": map[string]any{"role": "postern"}},
		},
	}
}

// class makes a SidecarClass that goes with the test.
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

// decodePart reads a part of a token, which is not verified.
func decodePart(token string, part int, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("this is no signed token")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func errStatus(a answer) error { return fmt.Errorf("status %d: %.200q", a.status, a.body) }
