package test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// A group is a folder of sidecar/, or a package in one that has its own place in the picture of docs/architecture.md.
type group struct {
	// may lists what the group may import of this module: folders of sidecar/, or of api/. Everything else is forbidden, and
	// reason says why.
	may    []string
	reason string
	// order has the group's packages in levels, the upper first: each may import those of lower levels. A folder counts as one
	// package. Where there is neither an order nor apart, the packages may import each other.
	order [][]string
	// apart says that no package of the group imports another one.
	apart bool
}

// check is pure, so every group may import it.
const check = "api/check"

// groups are all folders of sidecar/, the upper ones first.
var groups = map[string]group{
	"server": {
		may:    []string{"api/compiled", "chain", "resources", "document", "conn", "httpkit", "stages/upstream", "keys/secret", "keys/password"},
		reason: "the process wires what others make: rules and logins are the chain's",
	},
	"chain": {
		may:    []string{"api/compiled", "resources", "stages", "login", "keys", "httpkit"},
		reason: "the chain turns a document into a snapshot: connections and stores are the resources', listeners the server's",
	},
	"resources": {
		may:    []string{"api/compiled", "stages", "login", "keys", "store", "resources/pool"},
		reason: "resources outlive snapshots, and know nothing of their order. They have the stages' stores and metrics",
	},
	"resources/pool": {reason: "the pool is a leaf, so that keys can use it as well"},
	"document": {
		may:    []string{"api/compiled", "keys/secret"},
		reason: "where documents come from has nothing to do with what they say",
	},
	"stages": {
		may:    []string{"httpkit", "keys", "store/keyspace"},
		reason: "a stage takes its own small Config, and is tested without documents, logins, connections and other stages",
		apart:  true,
	},
	"login": {
		may:    []string{"httpkit", "keys", "store/keyspace"},
		reason: "logins take their own small Configs, and are tested without documents, connections and other stages",
		order:  [][]string{{"appapi", "backchannel", "endpoints", "loginstage"}, {"transport"}, {"token"}, {"session", "revocation"}},
	},
	"login/logintest": {
		may:    []string{"httpkit", "keys", "login", "stages/authn"},
		reason: "logintest puts a stage behind real authentication, for tests",
	},
	"conn": {
		may:    []string{"httpkit", "keys/secret"},
		reason: "connections are below HTTP: they know no policy, no stage and no login",
		apart:  true,
	},
	"keys": {
		may:    []string{"resources/pool"},
		reason: "keys are kept and used without knowing what for, and lie in memory alone: no stage, no login, no store",
		order:  [][]string{{"signing", "jwt"}, {"vault", "jwks"}, {"secret", "password"}},
	},
	"store": {
		may:    []string{"keys/secret"},
		reason: "a store's client knows nothing of what is stored",
		order:  [][]string{{"statetest"}, {"redistest"}, {"redis"}, {"keyspace"}},
	},
	"httpkit": {reason: "what stages are written with is below all of them"},
}

// inner returns the path of a package below sidecar/, and the group that it belongs to; ok is false outside of sidecar/.
func inner(importPath string) (path, name string, ok bool) {
	path, ok = strings.CutPrefix(importPath, module+"sidecar/")
	if !ok {
		return "", "", false
	}
	for candidate := range groups {
		if under(path, candidate) && len(candidate) > len(name) {
			name = candidate
		}
	}
	return path, name, true
}

// TestGroups: each import follows the picture, from the folders themselves.
func TestGroups(t *testing.T) {
	for _, p := range list(t) {
		path, name, ok := inner(p.ImportPath)
		if !ok {
			continue
		}
		if name == "" {
			t.Errorf("sidecar/%s belongs to no group: say in groups what it may import", path)
			continue
		}
		for _, i := range p.Imports {
			if why := forbidden(path, name, i); why != "" {
				t.Errorf("sidecar/%s imports %s: %s", path, strings.TrimPrefix(i, module), why)
			}
		}
	}
}

// forbidden returns why a package of the group must not import another one; empty if it may.
func forbidden(path, name, imported string) string {
	target, ok := strings.CutPrefix(imported, module)
	if !ok || under(target, check) {
		return ""
	}
	g := groups[name]
	target = strings.TrimPrefix(target, "sidecar/")
	if to, toName, ok := inner(imported); ok && toName == name {
		return g.forbiddenInside(strings.TrimPrefix(path, name+"/"), strings.TrimPrefix(to, name+"/"))
	}
	for _, may := range g.may {
		if under(target, may) && (may == "resources/pool") == under(target, "resources/pool") {
			return ""
		}
	}
	return g.reason
}

func (g group) forbiddenInside(from, to string) string {
	fromFolder, _, _ := strings.Cut(from, "/")
	toFolder, _, _ := strings.Cut(to, "/")
	switch {
	case fromFolder == toFolder:
		return ""
	case g.apart:
		return "each package of the group is tested and changed without the others"
	case g.order == nil:
		return ""
	}
	if f, t := g.level(fromFolder), g.level(toFolder); f < 0 || t < 0 || f >= t {
		return "it is not below it in the order of the group"
	}
	return ""
}

// level is -1 for a package that the order does not have.
func (g group) level(folder string) int {
	return slices.IndexFunc(g.order, func(level []string) bool { return slices.Contains(level, folder) })
}

// TestGroupsAreTheFolders: a new folder needs a place in the picture, and one that has gone leaves it.
func TestGroupsAreTheFolders(t *testing.T) {
	for _, folder := range folders(t, "") {
		if _, ok := groups[folder]; !ok {
			t.Errorf("sidecar/%s has no rule: say in groups what it may import", folder)
		}
	}
	for name, g := range groups {
		present := folders(t, name)
		if g.order == nil {
			continue
		}
		var ordered []string
		for _, level := range g.order {
			ordered = append(ordered, level...)
		}
		for _, folder := range present {
			if _, apart := groups[name+"/"+folder]; !apart && !slices.Contains(ordered, folder) {
				t.Errorf("sidecar/%s/%s has no place in the order of its group", name, folder)
			}
		}
		for _, folder := range ordered {
			if !slices.Contains(present, folder) {
				t.Errorf("the order of sidecar/%s has %s, which is not there", name, folder)
			}
		}
	}
}

// folders are those of a folder of sidecar/.
func folders(t *testing.T, in string) []string {
	t.Helper()
	entries, err := os.ReadDir("../sidecar/" + in)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "testdata" {
			names = append(names, e.Name())
		}
	}
	return names
}

// TestGroupsHaveNoCycle: what a group may import is further down, so that the picture can be drawn.
func TestGroupsHaveNoCycle(t *testing.T) {
	var visit func(name string, above []string)
	visit = func(name string, above []string) {
		if slices.Contains(above, name) {
			t.Errorf("groups may import each other in a circle: %s", strings.Join(append(above, name), " → "))
			return
		}
		for _, may := range groups[name].may {
			if _, target, ok := inner(module + "sidecar/" + may); ok && target != "" {
				visit(target, append(slices.Clone(above), name))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		visit(name, nil)
	}
}

// TestForbiddenEdges: the rules catch what they are for.
func TestForbiddenEdges(t *testing.T) {
	tests := map[string]struct {
		from, to  string
		forbidden bool
	}{
		"a stage imports another":           {"stages/authn", "sidecar/stages/authz", true},
		"a stage imports its own store":     {"stages/ratelimit", "sidecar/stages/ratelimit/gcra", false},
		"a stage imports the wire format":   {"stages/authn", "api/compiled", true},
		"a stage imports what is checked":   {"stages/cors", "api/check", false},
		"a stage imports a login":           {"stages/authz", "sidecar/login/session", true},
		"a stage imports the redis client":  {"stages/ratelimit/ratelimitredis", "sidecar/store/redis", true},
		"a stage imports resources":         {"stages/authn", "sidecar/resources", true},
		"a stage imports the pool":          {"stages/authn", "sidecar/resources/pool", true},
		"a stage imports the kit":           {"stages/authn", "sidecar/httpkit/request", false},
		"the kit imports a stage":           {"httpkit/response", "sidecar/stages/authn", true},
		"the kit imports the kit":           {"httpkit/response", "sidecar/httpkit/httperr", false},
		"keys import resources":             {"keys/vault", "sidecar/resources", true},
		"keys import the pool":              {"keys/vault", "sidecar/resources/pool", false},
		"keys import a login":               {"keys/signing", "sidecar/login/token", true},
		"keys import upwards":               {"keys/jwks", "sidecar/keys/jwt", true},
		"sessions import tokens":            {"login/session", "sidecar/login/token", true},
		"tokens import sessions":            {"login/token", "sidecar/login/session", false},
		"sessions import revocations":       {"login/session", "sidecar/login/revocation", true},
		"connections import another":        {"conn/listen", "sidecar/conn/framing", true},
		"connections import a stage":        {"conn/listen", "sidecar/stages/upstream", true},
		"a store imports what stores":       {"store/redis", "sidecar/login/session", true},
		"resources import the chain":        {"resources", "sidecar/chain", true},
		"the pool imports anything":         {"resources/pool", "sidecar/keys/secret", true},
		"the chain imports the server":      {"chain", "sidecar/server", true},
		"the chain imports connections":     {"chain", "sidecar/conn/listen", true},
		"the chain imports stores":          {"chain", "sidecar/store/redis", true},
		"the server imports a stage's":      {"server", "sidecar/stages/authn", true},
		"the server imports the proxy":      {"server", "sidecar/stages/upstream", false},
		"documents import the chain":        {"document", "sidecar/chain", true},
		"anything imports the operator":     {"server", "controllers/compile", true},
		"a package of another organisation": {"httpkit/route", "../x", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			imported := module + tt.to
			if strings.HasPrefix(tt.to, "../") {
				imported = "example.com/x"
			}
			_, group, _ := inner(module + "sidecar/" + tt.from)
			if why := forbidden(tt.from, group, imported); (why != "") != tt.forbidden {
				t.Errorf("forbidden: %q", why)
			}
		})
	}
}
