// Package test has tests that apply to the whole tree.
package test

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/posterndev/postern/"

// A rule forbids packages whose path starts with from to depend, directly or indirectly, on packages whose path starts with to.
type rule struct {
	from, to string
	// direct checks only a package's own imports.
	direct bool
	// except are packages to which the rule does not apply; but are packages on which all may depend.
	except, but []string
	reason      string
}

var rules = []rule{
	{from: "cmd/sidecar", to: "k8s.io/", reason: "the sidecar links no Kubernetes code: it runs in every pod"},
	{from: "cmd/sidecar", to: "sigs.k8s.io/", reason: "the sidecar links no Kubernetes code: it runs in every pod"},
	{from: "cmd/redirect", to: "k8s.io/", reason: "the init container links no Kubernetes code"},
	{from: "cmd/sidecar", to: module + "controllers/", reason: "the binaries share only api/compiled and api/check"},
	{from: "cmd/sidecar", to: module + "api/v1alpha1", reason: "the binaries share only api/compiled and api/check"},
	{from: "cmd/operator", to: module + "sidecar/", reason: "the binaries share only api/compiled and api/check"},
	{from: "controllers/", to: module + "sidecar/", reason: "the binaries share only api/compiled and api/check"},
	{from: "sidecar/", to: module + "controllers/", reason: "the binaries share only api/compiled and api/check"},
	{from: "api/compiled", to: module, reason: "the document depends only on the standard library"},
	{from: "api/compiled", to: "k8s.io/", reason: "the document depends only on the standard library"},
	{from: "api/check", to: module, but: []string{module + "api/compiled"}, reason: "judging is pure: the document is all that it reads"},
	{from: "api/check", to: "k8s.io/", reason: "both binaries judge by api/check, and the sidecar links no Kubernetes code"},
	{from: "api/check", to: "github.com/", but: []string{module, "github.com/golang-jwt/", "github.com/google/cel-go/", "github.com/antlr4-go/"}, reason: "judging is pure: the standard library, the signature methods of golang-jwt, and CEL"},
	{from: "api/check", to: "os", direct: true, reason: "judging is pure: no I/O"},
	{from: "api/check", to: "net/http", direct: true, reason: "judging is pure: no I/O"},
	{from: "controllers/compile", to: "sigs.k8s.io/controller-runtime", reason: "compiling is pure: no client"},
	{from: "controllers/compile", to: "k8s.io/client-go", reason: "compiling is pure: no client"},
	{from: "controllers/render", to: "sigs.k8s.io/controller-runtime", reason: "rendering is pure: no client"},
	{from: "controllers/render", to: "k8s.io/client-go", reason: "rendering is pure: no client"},
	{from: "controllers/status", to: "sigs.k8s.io/controller-runtime", reason: "status is pure: no client"},
	{from: "sidecar/keys/signing", to: module + "sidecar/keys/vault", except: []string{"sidecar/keys/signing/transit"}, reason: "signing runs without Vault: transit is its adapter"},
	{from: "sidecar/keys/vault", to: module + "sidecar/keys/signing", reason: "vault is a leaf: its adapters are beside their users"},
	{from: "sidecar/login/token", to: module + "sidecar/keys/vault", reason: "the location of a key is behind an interface: tokens are issued without Vault"},
	{from: "sidecar/login/token", to: "net/http", direct: true, reason: "the login service does not use HTTP: transport, endpoints and loginstage are its HTTP fronts"},
	{from: "sidecar/login/token", to: module + "sidecar/login/transport", reason: "the HTTP fronts depend on the login service, not the other way round"},
	{from: "sidecar/login/transport", to: module + "sidecar/login/endpoints", reason: "the HTTP fronts share transport, so it imports none of them"},
	{from: "sidecar/login/transport", to: module + "sidecar/login/loginstage", reason: "the HTTP fronts share transport, so it imports none of them"},
	{from: "sidecar/login/transport", to: module + "sidecar/login/renewal", reason: "the HTTP fronts share transport, so it imports none of them"},
	{from: "sidecar/login/endpoints", to: module + "sidecar/login/loginstage", reason: "a stage is tested and changed without the others"},
	{from: "sidecar/login/loginstage", to: module + "sidecar/login/endpoints", reason: "a stage is tested and changed without the others"},
	{from: "sidecar/", to: module + "sidecar/login/logintest", except: []string{"sidecar/login/logintest"}, reason: "logintest is for tests"},
	{from: "sidecar/keys/password", to: module, but: []string{module + "api/"}, reason: "hashing depends only on a password and a cost"},
	{from: "sidecar/", to: "github.com/hashicorp/vault/", direct: true, except: []string{"sidecar/keys/vault"}, reason: "only one package uses the Vault client, and it removes secrets from Vault's errors"},
	{from: "sidecar/", to: "github.com/redis/", direct: true,
		except: []string{"sidecar/store", "sidecar/stages/ratelimit/ratelimitredis", "sidecar/stages/ratelimit/inflight/inflightredis", "sidecar/stages/loginprotection/loginprotectionredis", "sidecar/stages/passwordpolicy/passwordpolicyredis", "sidecar/login/revocation/revocationredis", "sidecar/login/session/sessionredis", "sidecar/login/token/tokenredis",
			"sidecar/audit/stream", "sidecar/audit/drain"},
		reason: "a stage has a store interface with two implementations, in memory and in Redis"},
	{from: "sidecar/", to: "github.com/jackc/", direct: true, except: []string{"sidecar/store", "sidecar/audit"}, reason: "only the audit trail is in PostgreSQL, and its connections belong to sidecar/store"},
	{from: "cmd/sidecar", to: "github.com/pressly/goose", reason: "the sidecar only inserts: people migrate the database"},
	{from: "cmd/sidecar", to: module + "sidecar/audit/auditsql", reason: "the sidecar only inserts: people migrate the database"},
	{from: "cmd/audit", to: "k8s.io/", reason: "the audit writer needs no cluster"},
	{from: "cmd/audit", to: module + "sidecar/resources", reason: "the audit writer knows no policies"},
	{from: "cmd/sidecar", to: module + "sidecar/audit/drain", reason: "the sidecar only appends to the streams"},
	{from: "cmd/operator", to: "github.com/jackc/", reason: "the operator has no database"},
	{from: "cmd/operator", to: "github.com/hashicorp/vault/", reason: "the operator never reads a secret"},
	{from: "cmd/", to: "github.com/hashicorp/vault/", but: []string{"github.com/hashicorp/vault/api"}, reason: "a Vault server is only for tests and the demo: its licence differs from ours"},
}

type listed struct {
	ImportPath    string
	Imports, Deps []string
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var packages []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p listed
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

func TestForbiddenImports(t *testing.T) {
	packages := list(t)
	for _, r := range rules {
		applied := false
		for _, p := range packages {
			path := strings.TrimPrefix(p.ImportPath, module)
			if !under(path, r.from) || excepted(path, r.except) {
				continue
			}
			applied = true
			imports := p.Deps
			if r.direct {
				imports = p.Imports
			}
			for _, i := range imports {
				if strings.HasPrefix(i, r.to) && !excepted(i, r.but) && i != p.ImportPath && !under(strings.TrimPrefix(i, module), r.from) {
					t.Errorf("%s imports %s: %s", path, i, r.reason)
				}
			}
		}
		if !applied {
			t.Errorf("the rule about %s matches no package", r.from)
		}
	}
}

// under reports whether path is the package prefix, or in its folder.
func under(path, prefix string) bool {
	return path == strings.TrimSuffix(prefix, "/") || strings.HasPrefix(path, strings.TrimSuffix(prefix, "/")+"/")
}

func excepted(path string, except []string) bool {
	for _, e := range except {
		if under(path, e) {
			return true
		}
	}
	return false
}
