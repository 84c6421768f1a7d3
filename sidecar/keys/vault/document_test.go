package vault

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

func TestKeyValueVersion1IsRefused(t *testing.T) {
	t.Parallel()
	mount := unique("first")
	server.Write(t, "sys/mounts/"+mount, map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	server.Policy(t, mount, `path "`+mount+`/*" { capabilities = ["read"] }`)
	h := open(t, tokenFile(t, mount), nil)
	_, err := hold(t, h, Ref{Path: mount + "/x", Key: "y"}).Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not KV version 2") {
		t.Errorf("error = %v", err)
	}
}

func TestSecretMovesToAnotherMount(t *testing.T) {
	t.Parallel()
	team := unique("team")
	engine := team + "/kv"
	mount := func() {
		server.Write(t, "sys/mounts/"+engine, map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	}
	mount()
	server.Policy(t, team, `path "`+engine+`/*" { capabilities = ["read"] }`)
	write := func(value string) {
		vaulttest.Eventually(t, "the engine to accept writes", func() bool {
			_, err := server.Root().Logical().Write(engine+"/data/x", map[string]any{"data": map[string]any{"key": value}})
			return err == nil
		})
	}
	write("one")
	h := open(t, tokenFile(t, team), nil)
	s := hold(t, h, Ref{Path: engine + "/x", Key: "key"})
	if read(t, s) != "one" {
		t.Error("reading from a mount with two segments returned another value")
	}
	if err := server.Root().Sys().Unmount(engine); err != nil {
		t.Fatal(err)
	}
	mount()
	write("two")
	vaulttest.Eventually(t, "the value of the new engine", func() bool {
		v, err := s.Read(t.Context())
		return err == nil && string(v.Reveal()) == "two"
	})
}
