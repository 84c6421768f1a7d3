package vault

import (
	"strings"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// TestSealedAndStopped uses its own server.
func TestSealedAndStopped(t *testing.T) {
	t.Parallel()
	own, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Stop()
	own.Put(t, "kept", map[string]any{"key": "s3cret"})
	created := own.Write(t, "auth/token/create", map[string]any{"policies": []string{"root"}})
	change := func(c *Config) { c.Address, c.CABundle = own.Address, own.CABundle }
	h := open(t, TokenFile(file(t, created.Auth.ClientToken)), change)
	s := hold(t, h, Ref{Path: "secret/kept", Key: "key"})
	read(t, s)
	h.await(t, OK)
	own.Seal(t)
	h.await(t, Sealed)
	read(t, s)
	late := open(t, TokenFile(file(t, created.Auth.ClientToken)), change)
	late.await(t, Sealed)
	own.Unseal(t)
	h.await(t, OK)
	late.await(t, OK)
	own.Stop()
	h.await(t, Unreachable)
	late.Close()
	if read(t, s) != "s3cret" {
		t.Error("the last good value is lost")
	}
	before := open(t, TokenFile(file(t, "x")), change)
	before.await(t, Unreachable)
}

// TestSealedLongerThanTokenLifetime uses its own server.
func TestSealedLongerThanTokenLifetime(t *testing.T) {
	t.Parallel()
	own, err := vaulttest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Stop()
	own.Write(t, "sys/auth/approle", map[string]any{"type": "approle"})
	own.Policy(t, "reader", `path "secret/data/*" { capabilities = ["read"] }`)
	own.Put(t, "kept", map[string]any{"key": "s3cret"})
	auth := appRoleOf(t, own, "short", map[string]any{"token_ttl": "3s", "token_policies": "reader"})
	h := open(t, auth, func(c *Config) { c.Address, c.CABundle = own.Address, own.CABundle })
	s := hold(t, h, Ref{Path: "secret/kept", Key: "key"})
	read(t, s)
	first := h.currentToken()
	own.Seal(t)
	vaulttest.Eventually(t, "the token to expire", func() bool { return h.currentToken() == "" })
	h.await(t, Sealed)
	if read(t, s) != "s3cret" {
		t.Error("the last good value is lost")
	}
	own.Unseal(t)
	own.Put(t, "kept", map[string]any{"key": "s3cret-2"})
	vaulttest.Eventually(t, "reading with another token", func() bool { return read(t, s) == "s3cret-2" })
	if h.currentToken() == first {
		t.Error("the client still has the expired token")
	}
	h.await(t, OK)
}

func TestQuota(t *testing.T) {
	t.Parallel()
	engine := unique("quota")
	server.Write(t, "sys/mounts/"+engine, map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	server.Policy(t, engine, `path "`+engine+`/*" { capabilities = ["read"] }`)
	vaulttest.Eventually(t, "the engine to accept writes", func() bool {
		_, err := server.Root().Logical().Write(engine+"/data/x", map[string]any{"data": map[string]any{"key": "s3cret"}})
		return err == nil
	})
	h := open(t, tokenFile(t, engine), nil)
	s := hold(t, h, Ref{Path: engine + "/x", Key: "key"})
	read(t, s)
	quota := "sys/quotas/rate-limit/" + engine
	server.Write(t, quota, map[string]any{"path": engine, "rate": 1, "interval": "1h"})
	h.await(t, Throttled)
	if read(t, s) != "s3cret" {
		t.Error("the last good value is lost")
	}
	if _, err := server.Root().Logical().Delete(quota); err != nil {
		t.Fatal(err)
	}
	h.await(t, OK)
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	foreign, _, err := vaulttest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	local := strings.Replace(server.Address, "127.0.0.1", "localhost", 1)
	for name, tt := range map[string]struct {
		address string
		ca      []byte
	}{
		"another authority":  {server.Address, foreign},
		"system authorities": {server.Address, nil},
		"another host":       {local, server.CABundle},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, tokenFile(t, "reader"), func(c *Config) { c.Address, c.CABundle = tt.address, tt.ca })
			h.await(t, Untrusted)
		})
	}
}

func TestSlowLink(t *testing.T) {
	t.Parallel()
	path := put(t, map[string]any{"key": "s3cret"})
	link := vaulttest.NewLink(t, server)
	link.Slow(200 * time.Millisecond)
	h := open(t, tokenFile(t, "reader"), func(c *Config) { c.Address = link.Address })
	s := hold(t, h, Ref{Path: path, Key: "key"})
	if read(t, s) != "s3cret" {
		t.Error("reading over a slow link returned another value")
	}
	h.await(t, OK)
}

func TestLinkSlowerThanTheTimeout(t *testing.T) {
	t.Parallel()
	link := vaulttest.NewLink(t, server)
	link.Slow(500 * time.Millisecond)
	h := open(t, tokenFile(t, "reader"), func(c *Config) { c.Address, c.Timeout = link.Address, 100*time.Millisecond })
	h.await(t, Unreachable)
}
