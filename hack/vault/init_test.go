package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"

	"github.com/posterndev/postern/sidecar/keys/vault/vaulttest"
)

// initFile returns init.json as up.sh writes it, for one namespace. A CA is added, because the test runs outside of a pod.
func initFile(t *testing.T) string {
	t.Helper()
	template, err := os.ReadFile("init.json")
	if err != nil {
		t.Fatal(err)
	}
	ca, _, err := vaulttest.SelfSigned()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(string(ca))
	if err != nil {
		t.Fatal(err)
	}
	const host = `"kubernetes_host":`
	return file(t, strings.NewReplacer("@NAMESPACES@", "shop", "@SELECTOR@", "", host, `"kubernetes_ca_cert": `+string(text)+`, `+host).Replace(string(template)))
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serverCommand returns the command of a server with -init, on a free port.
func serverCommand(t *testing.T, initFile string) *exec.Cmd {
	t.Helper()
	bin, err := vaulttest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), bin, "-listen", "127.0.0.1:0", "-root-token", "root", "-init", initFile)
}

// startServer runs a server until the test ends.
func startServer(t *testing.T, initFile string) *server {
	t.Helper()
	c := serverCommand(t, initFile)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	var said struct{ Address string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil {
		_ = c.Wait()
		t.Fatalf("reading the server's address: %v: %s", err, &stderr)
	}
	client, err := newClient(said.Address, []byte("root"), &api.TLSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return &server{Client: client}
}

func TestInit(t *testing.T) {
	t.Parallel()
	s := startServer(t, initFile(t))
	tests := map[string]struct{ path, key, want string }{
		"role":   {"auth/kubernetes/role/postern", "audience", "vault"},
		"method": {"auth/kubernetes/config", "kubernetes_host", "https://kubernetes.default.svc"},
		"key":    {"transit/keys/shop", "type", "ecdsa-p256"},
		"PKI":    {"pki/roles/shop", "issuer_ref", "default"},
	}
	for name, tt := range tests {
		read, err := s.Logical().Read(tt.path)
		if err != nil || read == nil || read.Data[tt.key] != tt.want {
			t.Errorf("%s: %+v, %v; want %s: %s", name, read, err, tt.key, tt.want)
		}
	}
}

func TestInitPolicy(t *testing.T) {
	t.Parallel()
	s := startServer(t, initFile(t))
	login, err := s.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{"postern"}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"secret/data/shop/redis":     {"read"},
		"secret/metadata/shop/redis": {"deny"},
		"secret/data/private/x":      {"deny"},
		"transit/sign/shop/sha2-256": {"update"},
		"transit/keys/shop":          {"read"},
		"transit/keys/shop/rotate":   {"update"},
		"transit/keys/shop/config":   {"read"},
		"transit/export/x/shop":      {"deny"},
		"pki/issue/shop":             {"update"},
		"pki/sign/shop":              {"deny"},
		"pki/roles/shop":             {"deny"},
	} {
		got, err := s.Sys().Capabilities(login.Auth.ClientToken, path)
		if err != nil || strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("%s: %v, %v; want %v", path, got, err, want)
		}
	}
}

func TestInitRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ content, wantErr string }{
		"no JSON":        {`[{`, "reading it: unexpected EOF"},
		"unknown field":  {`[{"path": "a", "body": {}}]`, `unknown field "body"`},
		"two lists":      {`[] []`, "something follows the list"},
		"no path":        {`[{"data": {}}]`, "write 1: a path is needed"},
		"leading slash":  {`[{"path": "/sys/x"}]`, "write 1: a path is needed"},
		"unknown engine": {`[{"path": "sys/mounts/x", "data": {"type": "nope"}}]`, "write 1, to sys/mounts/x: plugin not found"},
		"no such mount":  {`[{"path": "nowhere/x", "data": {}}]`, "write 1, to nowhere/x: no handler for route"},
		"refused by Vault": {`[{"path": "sys/auth/kubernetes", "data": {"type": "kubernetes"}}, {"path": "auth/kubernetes/role/r", "data": {}}]`,
			`write 2, to auth/kubernetes/role/r: "bound_service_account_names" can not be empty`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := serverCommand(t, file(t, tt.content)).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "vault: carrying out ") || !strings.Contains(string(out), tt.wantErr) {
				t.Errorf("%v: %s; want %q", err, out, tt.wantErr)
			}
		})
	}
}
