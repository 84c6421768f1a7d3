package vault

import (
	"strings"
	"testing"

	"github.com/posterndev/postern/sidecar/vault/vaulttest"
)

func TestKeyValueVersion1IsRefused(t *testing.T) {
	t.Parallel()
	server.Write(t, "sys/mounts/first", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	server.Policy(t, "first", `path "first/*" { capabilities = ["read"] }`)
	h := open(t, tokenFile(t, "first"), nil)
	_, err := hold(t, h, Ref{Path: "first/x", Key: "y"}).Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), "not KV version 2") {
		t.Errorf("error = %v", err)
	}
}

func TestSecretMovesToAnotherMount(t *testing.T) {
	t.Parallel()
	mount := func() {
		server.Write(t, "sys/mounts/team/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	}
	mount()
	server.Policy(t, "team", `path "team/kv/*" { capabilities = ["read"] }`)
	write := func(value string) {
		vaulttest.Eventually(t, "the engine to take writes", func() bool {
			_, err := server.Root().Logical().Write("team/kv/data/x", map[string]any{"data": map[string]any{"key": value}})
			return err == nil
		})
	}
	write("one")
	h := open(t, tokenFile(t, "team"), nil)
	s := hold(t, h, Ref{Path: "team/kv/x", Key: "key"})
	if read(t, s) != "one" {
		t.Error("a mount of two parts does not work")
	}
	if err := server.Root().Sys().Unmount("team/kv"); err != nil {
		t.Fatal(err)
	}
	mount()
	write("two")
	vaulttest.Eventually(t, "the value of the new engine", func() bool {
		v, err := s.Read(t.Context())
		return err == nil && string(v.Reveal()) == "two"
	})
}
