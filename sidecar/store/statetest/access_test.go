package statetest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/posterndev/postern/sidecar/store/keyspace"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// smuggled are parts that a client or another namespace could choose so that a wide pattern matches its key.
var smuggled = []string{"}:{11:shop/orders}", ":{9:shop/x", "}{1:shop/", "shop/orders", "{4:shop}:"}

// foreign are scopes of other namespaces.
var foreign = []string{"billing/orders", "shopx/orders", "xshop/orders", "sho/p", "a/shop", "orders/shop-orders", "s/" + strings.Repeat("x", 253)}

// keysOf returns keys of every store for a scope.
func keysOf(scope string, parts ...string) (keys []string) {
	namespace, _, _ := strings.Cut(scope, "/")
	for _, room := range []string{"ratelimit", "session", "token"} {
		keys = append(keys, keyspace.New(room, scope).Key(parts...))
	}
	return append(keys, keyspace.New("revocation", namespace).Key(parts...))
}

// TestOneNamespace asks Redis which keys the user of "shop" may use. The ACL lines are loaded as an ACL file.
func TestOneNamespace(t *testing.T) {
	page := Read(t)
	file := filepath.Join(t.TempDir(), "users.acl")
	var lines []string
	for _, user := range []string{Namespace, All} {
		lines = append(lines, "user "+user+" "+strings.Join(page.Rules(user), " "))
	}
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t, redistest.Options{Args: []string{"--aclfile", file}})
	may := func(user, key string) bool {
		return fmt.Sprint(server.Do("ACL", "DRYRUN", user, "GET", key)) == "OK"
	}
	// Policies whose scope is 6, 64 and 258 bytes long have lengths of one, two and three digits.
	for _, name := range []string{"a", "orders", strings.Repeat("p", 59), strings.Repeat("p", 253)} {
		for _, key := range keysOf("shop/"+name, "a", "b") {
			if !may(Namespace, key) || !may(All, key) {
				t.Errorf("%q is refused", key)
			}
		}
	}
	for _, scope := range foreign {
		for _, part := range append(smuggled, "a") {
			for _, key := range keysOf(scope, "owner", part) {
				if may(Namespace, key) {
					t.Errorf("the user of shop may read %q", key)
				}
				if !may(All, key) {
					t.Errorf("the user of all namespaces may not read %q", key)
				}
			}
		}
	}
	for _, key := range []string{"other", "postern", "xpostern:session:{11:shop/orders}"} {
		if may(All, key) || may(Namespace, key) {
			t.Errorf("%q, which is not a key of Postern, may be read", key)
		}
	}
	for _, command := range [][]any{{"FLUSHALL"}, {"KEYS", "*"}, {"CONFIG", "GET", "*"}, {"ACL", "LIST"}, {"PUBLISH", "c", "m"}, {"SCRIPT", "FLUSH"}} {
		for _, user := range []string{Namespace, All} {
			if fmt.Sprint(server.Do(append([]any{"ACL", "DRYRUN", user}, command...)...)) == "OK" {
				t.Errorf("%s may run %v", user, command)
			}
		}
	}
}

// TestScriptsAreBound: a script can use only keys that its user may use.
func TestScriptsAreBound(t *testing.T) {
	page, server := Read(t), redistest.Start(t, redistest.Options{})
	page.Grant(t, Namespace, server)
	server.Do("SET", "postern:token:{14:billing/orders}:1:a", "x")
	as := *server
	as.Password = ""
	client := as.Client()
	defer client.Close()
	conn := client.Conn()
	defer conn.Close()
	if err := conn.AuthACL(t.Context(), Namespace, Password).Err(); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"postern:token:{14:billing/orders}:1:a": "keys", "postern:token:{11:shop/orders}:1:a": ""} {
		err := conn.Eval(t.Context(), "redis.call('GET', ARGV[1]) return 1", nil, key).Err()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("a script that reads %q: %v", key, err)
		}
	}
}

// TestNamesHaveNoPatterns: characters of Kubernetes names have no special meaning in a Redis pattern.
func TestNamesHaveNoPatterns(t *testing.T) {
	for _, special := range []string{"*", "?", "[", "]", "\\", "{", "}", ":", "/", " ", "~", "^"} {
		if validation.IsDNS1123Label("sh"+special+"p") == nil {
			t.Errorf("a namespace may contain %q", special)
		}
	}
}

// patterns returns the key patterns of the user of one namespace as a regular expression. They use only "*" and ranges.
func patterns(page *Page) *regexp.Regexp {
	var all []string
	for _, rule := range page.Rules(Namespace) {
		if glob, ok := strings.CutPrefix(rule, "~"); ok {
			quoted := regexp.QuoteMeta(glob)
			quoted = strings.NewReplacer(`\[0-9\]`, "[0-9]", `\*`, "(?s:.*)").Replace(quoted)
			all = append(all, quoted)
		}
	}
	return regexp.MustCompile("^(?:" + strings.Join(all, "|") + ")$")
}

// FuzzOneNamespace: the user of "shop" may use a key if and only if it belongs to that namespace, whatever its parts are.
func FuzzOneNamespace(f *testing.F) {
	may := patterns(Read(f))
	for _, scope := range append(foreign, "shop/orders") {
		namespace, name, _ := strings.Cut(scope, "/")
		for _, part := range smuggled {
			f.Add(namespace, name, part)
		}
	}
	f.Fuzz(func(t *testing.T, namespace, name, part string) {
		if validation.IsDNS1123Label(namespace) != nil || validation.IsDNS1123Subdomain(name) != nil {
			return
		}
		for _, key := range keysOf(namespace+"/"+name, "owner", part) {
			if got := may.MatchString(key); got != (namespace == "shop") {
				t.Errorf("may the user of shop use %q: %v", key, got)
			}
		}
	})
}
