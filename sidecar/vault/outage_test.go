package vault

import (
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/vault/vaulttest"
)

// TestSealedAndStopped uses a server of its own.
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
		t.Error("the last good value is gone")
	}
	before := open(t, TokenFile(file(t, "x")), change)
	before.await(t, Unreachable)
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	foreign, _, err := vaulttest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	for name, ca := range map[string][]byte{"another authority": foreign, "the system's": nil} {
		t.Run(name, func(t *testing.T) {
			h := open(t, tokenFile(t, "reader"), func(c *Config) { c.CABundle = ca })
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
		t.Error("the value is another")
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
