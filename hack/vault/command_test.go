package main

import (
	"strings"
	"testing"
)

func TestParseCommandRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ args, wantErr string }{
		"nothing":       {"", "a command is required"},
		"unknown":       {"get secret/x", `"get" is no command`},
		"no value":      {"put secret/x", "another number of arguments"},
		"no key":        {"put secret/x =v", "KEY=VALUE"},
		"no sign":       {"write sys/x v", "KEY=VALUE"},
		"no such file":  {"put secret/x k=@/absent/file", "reading value of k"},
		"two keys":      {"rotate a b", "another number of arguments"},
		"seal what":     {"seal x", "another number of arguments"},
		"unseal by key": {"unseal x", "another number of arguments"},
	} {
		if _, err := parseCommand(strings.Fields(tt.args)); err == nil || !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: error = %v; want %q", name, err, tt.wantErr)
		}
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	s := startServer(t, initFile(t))
	do := func(line string) {
		t.Helper()
		c, err := parseCommand(strings.Fields(line))
		if err == nil {
			err = c(t.Context(), s)
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	do("put secret/shop/redis user=ada password=@" + file(t, "s3cret"))
	got, err := s.KVv2("secret").Get(t.Context(), "shop/redis")
	if err != nil || got.Data["password"] != "s3cret" || got.Data["user"] != "ada" {
		t.Errorf("put: %+v, %v", got, err)
	}
	do("rotate shop")
	key, err := s.Logical().Read("transit/keys/shop")
	if versions, ok := key.Data["keys"].(map[string]any); err != nil || !ok || len(versions) != 2 {
		t.Errorf("rotate: %+v, %v", key, err)
	}
	do("write auth/kubernetes/role/own bound_service_account_names=own bound_service_account_namespaces=shop audience=vault")
	if role, err := s.Logical().Read("auth/kubernetes/role/own"); err != nil || role == nil {
		t.Errorf("write: %v, %v", role, err)
	}
	do("seal")
	if st, err := s.Sys().SealStatus(); err != nil || !st.Sealed {
		t.Errorf("seal: %+v, %v", st, err)
	}
	if err := put("secret/x", nil)(t.Context(), s); err == nil || !strings.Contains(err.Error(), "putting secret/x: ") {
		t.Errorf("putting into a sealed Vault: %v", err)
	}
}
