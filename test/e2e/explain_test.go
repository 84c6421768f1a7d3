//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// testExplain: the built command explains what a running pod does with a request, as the pod itself does it, in both ways to call it.
func (g *guard) testExplain(t *testing.T) {
	dir := t.TempDir()
	plugin := postern(t)
	write(t, filepath.Join(dir, "shop-keys", "keys.yaml"), g.keys)
	pod := g.pods("orders")[0].Name
	right := g.id.token("ada", jwt.MapClaims{"scope": "orders:write", "tenant": "acme", "realm_access": map[string]any{"roles": []string{"admin"}}})
	for name, tt := range map[string]struct {
		token, path string
		header      string
		// status is what the explanation and the pod itself respond.
		status  int
		decided string
	}{
		"allowed":     {token: right, path: "/orders/1/refund?hush=1", header: "X-Tenant: acme", status: 200, decided: `passed: decided by the stage authorization, rule "refunds"`},
		"denied":      {token: right, path: "/admin/users", header: "X-Tenant: acme", status: 403, decided: `rule "admin": 403 access-denied`},
		"expression":  {token: right, path: "/orders/0/refund", header: "X-Tenant: acme", status: 403, decided: `rule "refunds": 403 access-denied`},
		"wrong token": {token: newIssuer(t).token("ada"), path: "/orders/1/refund", header: "X-Tenant: acme", status: 401, decided: `stage authorization, rule "refunds": 401 invalid-token`},
		"public":      {path: "/public/x", header: "X-Tenant: acme", status: 200, decided: `rule "public"`},
		"an API key":  {path: "/x", header: "X-API-Key: " + g.key, status: 200, decided: `passed: decided by the stage authorization, rule "default"`},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"--namespace", g.name, "--path", tt.path, "--method", "POST", "--header", tt.header, "--secrets-dir", dir}
			fields := []string{tt.header}
			if tt.token != "" {
				args, fields = append(args, "--token", "-"), append(fields, bearer(tt.token))
			}
			for _, command := range [][]string{{"kubectl", "postern", "explain", "pod/" + pod}, {plugin, "explain", "--pod", pod}} {
				c := exec.Command(command[0], append(command[1:], args...)...)
				c.Env = append(os.Environ(), "PATH="+filepath.Dir(plugin)+string(os.PathListSeparator)+os.Getenv("PATH"))
				c.Stdin = strings.NewReader(tt.token)
				out, err := c.CombinedOutput()
				if err != nil || !strings.Contains(string(out), tt.decided) || !strings.Contains(string(out), "which the pod "+pod+" runs") {
					t.Errorf("%v: %v; %q is not in:\n%s", command, err, tt.decided, out)
				}
				for _, secret := range []string{"hush", g.key, "eyJ"} {
					if strings.Contains(string(out), secret) {
						t.Errorf("%q is in:\n%s", secret, out)
					}
				}
			}
			do(t, "POST", g.urls[0]+tt.path, "{}", fields...).wantStatus(t, tt.status)
		})
	}
	out, err := exec.Command(plugin, "explain", "pod/none", "--namespace", g.name).CombinedOutput()
	if err == nil || !strings.Contains(string(out), `pods "none" not found`) {
		t.Errorf("a pod that does not exist: %v\n%s", err, out)
	}
}

// write writes a file, and the folder that it is in.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
