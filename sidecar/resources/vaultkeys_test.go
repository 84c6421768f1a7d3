package resources

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/keys/jwks"
	"github.com/posterndev/postern/sidecar/keys/vault"
	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// vaultKeys is a key set in a real Vault, and what a sidecar makes of it.
type vaultKeys struct {
	server *vaulttest.Server
	link   *vaulttest.Link
	client *vault.Client
	value  *vault.Secret // on the same document as the source
	source jwks.Source
	log    *logtest.Buffer
	ahead  atomic.Int64 // of the clock of the client and the source
}

const vaultStale = 2 * time.Minute

func (v *vaultKeys) now() time.Time { return time.Now().Add(time.Duration(v.ahead.Load())) }

// hmacSet writes a key set with one key.
func hmacSet(kid string) string {
	return fmt.Sprintf(`{"keys":[{"kty":"oct","kid":%q,"alg":"HS256","k":%q}]}`, kid, base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef")))
}

func newVaultKeys(t *testing.T) *vaultKeys {
	t.Helper()
	server, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	server.Put(t, "keys", map[string]any{"jwks": hmacSet("a")})
	token := filepath.Join(t.TempDir(), "token")
	created := server.Write(t, "auth/token/create", map[string]any{"policies": []string{"root"}, "ttl": "1h"})
	if err := os.WriteFile(token, []byte(created.Auth.ClientToken), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &vaultKeys{server: server, link: vaulttest.NewLink(t, server), log: &logtest.Buffer{}}
	v.client, err = vault.New(vault.Config{
		Address: v.link.Address, CABundle: server.CABundle, Auth: vault.TokenFile(token), PollInterval: vault.MinPollInterval, MaxStale: vaultStale, Now: v.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.client.Close)
	v.value = v.hold(t)
	manager, err := jwks.NewManager(jwks.ManagerConfig{Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.NewJSONHandler(v.log, nil)), Now: v.now})
	if err != nil {
		t.Fatal(err)
	}
	source, release, err := manager.Acquire(jwks.Spec{
		Provider: "corp", Algorithms: []string{"HS256"}, Secret: v.hold(t), SecretName: "vault", MaxStale: vaultStale,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	v.source = source
	v.await(t, "the first key set", func() bool { _, err := v.lookup("a"); return err == nil })
	return v
}

func (v *vaultKeys) hold(t *testing.T) *vault.Secret {
	t.Helper()
	s, release, err := v.client.Secret(vault.Ref{Path: "secret/keys", Key: "jwks"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return s
}

func (v *vaultKeys) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	vaulttest.Eventually(t, what, ok)
}

func (v *vaultKeys) lookup(kid string) ([]*jwks.Key, error) {
	return v.source.Lookup(context.Background(), kid, "HS256")
}

// change runs f, and returns as soon as the client has noticed it: at the next poll of its one poller.
func (v *vaultKeys) change(t *testing.T, f func()) {
	t.Helper()
	changed := v.value.Changed()
	f()
	select {
	case <-changed:
	case <-time.After(time.Minute):
		t.Fatal("the change was not noticed")
	}
}

// TestVaultKeysFollowTheOnePoller: what the client's poll has noticed is in force at the next lookup, with no further wait.
func TestVaultKeysFollowTheOnePoller(t *testing.T) {
	v := newVaultKeys(t)
	keys, err := v.lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	v.change(t, func() { v.server.Put(t, "keys", map[string]any{"jwks": hmacSet("b")}) })
	if v.source.Holds(keys[0]) {
		t.Error("a key that was replaced is still used")
	}
	if _, err := v.lookup("b"); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if _, err := v.lookup("a"); !errors.Is(err, jwks.ErrUnknownKey) {
		t.Errorf("the replaced key: %v", err)
	}
	keys, _ = v.lookup("b")
	v.change(t, func() { v.remove(t) })
	if v.source.Holds(keys[0]) {
		t.Error("a deleted key is still used")
	}
	if _, err := v.lookup("b"); !errors.Is(err, jwks.ErrUnavailable) {
		t.Errorf("after the deletion: %v", err)
	}
	v.change(t, func() { v.server.Put(t, "keys", map[string]any{"jwks": hmacSet("c")}) })
	if _, err := v.lookup("c"); err != nil {
		t.Errorf("written again: %v", err)
	}
	v.change(t, func() { v.server.Put(t, "keys", map[string]any{"other": "x"}) })
	if _, err := v.lookup("c"); !errors.Is(err, jwks.ErrUnavailable) {
		t.Errorf("without the key of the secret: %v", err)
	}
}

func (v *vaultKeys) remove(t *testing.T) {
	t.Helper()
	if _, err := v.server.Root().Logical().Delete("secret/data/keys"); err != nil {
		t.Fatal(err)
	}
}

// TestVaultKeysExpire: maxStale counts from the time when Vault last confirmed the value.
func TestVaultKeysExpire(t *testing.T) {
	v := newVaultKeys(t)
	keys, err := v.lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	v.link.Cut()
	v.await(t, "the outage to be noticed", func() bool { return v.client.Status().State == vault.Unreachable })
	ends := v.value.Confirmed().Add(vaultStale)
	v.ahead.Add(int64(ends.Sub(v.now()) - time.Minute))
	if _, err := v.lookup("a"); err != nil || !v.source.Holds(keys[0]) {
		t.Errorf("before maxStale: %v", err)
	}
	v.ahead.Add(int64(ends.Sub(v.now())))
	if v.source.Holds(keys[0]) {
		t.Error("the key is used beyond maxStale")
	}
	if _, err := v.lookup("a"); !errors.Is(err, jwks.ErrUnavailable) {
		t.Errorf("beyond maxStale: %v", err)
	}
	v.link.Mend()
	v.await(t, "the keys to be used again", func() bool { return v.source.Holds(keys[0]) })
}

// TestInvalidVaultKeys: while the value is not valid, the last good set stays in use for maxStale.
func TestInvalidVaultKeys(t *testing.T) {
	v := newVaultKeys(t)
	keys, err := v.lookup("a")
	if err != nil {
		t.Fatal(err)
	}
	v.change(t, func() { v.server.Put(t, "keys", map[string]any{"jwks": "short"}) })
	if !v.source.Holds(keys[0]) {
		t.Error("the last good key is lost at once")
	}
	v.change(t, func() { v.server.Put(t, "keys", map[string]any{"jwks": "short as well"}) })
	v.ahead.Add(int64(vaultStale + time.Second))
	v.await(t, "Vault to confirm the invalid value", func() bool { return v.now().Sub(v.value.Confirmed()) < vaultStale })
	if v.source.Holds(keys[0]) {
		t.Error("the last good key is used beyond maxStale")
	}
	v.change(t, func() { v.server.Put(t, "keys", map[string]any{"jwks": hmacSet("d")}) })
	if _, err := v.lookup("d"); err != nil {
		t.Errorf("a valid value again: %v", err)
	}
}

// TestBearerTokenInVault: the token for a key set is a value in Vault.
func TestBearerTokenInVault(t *testing.T) {
	v, server := newVaultKeys(t), guardedKeys(t)
	v.server.Put(t, "id", map[string]any{"token": "s3cret"})
	token := filepath.Join(t.TempDir(), "token")
	created := v.server.Write(t, "auth/token/create", map[string]any{"policies": []string{"root"}, "ttl": "1h"})
	if err := os.WriteFile(token, []byte(created.Auth.ClientToken), 0o600); err != nil {
		t.Fatal(err)
	}
	p := compiled.Provider{Name: "id", Issuer: "https://id.example", Algorithms: []string{"EdDSA"}, Keys: compiled.Keys{
		URI: server.URL, CABundle: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		Bearer: &compiled.Bearer{Secret: &compiled.SecretRef{VaultPath: "secret/id", Key: "token"}},
	}}
	a, err := newResources(t).Acquire(&compiled.Policy{Namespace: "shop", Name: "orders", Providers: []compiled.Provider{p}, Vault: &compiled.Vault{
		Address: v.server.Address, CABundle: string(v.server.CABundle), TokenFile: token, PollInterval: compiled.Duration(time.Second),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	source, err := a.ProviderKeys(&p)
	if err != nil {
		t.Fatal(err)
	}
	v.await(t, "the key set", func() bool { _, err := source.Lookup(t.Context(), "d", "EdDSA"); return err == nil })
}
