package test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// A group is a folder of sidecar/, or a package in it that has its own box in the picture of docs/architecture.md.
type group struct {
	// may lists what the group may import from this module: folders of sidecar/ or of api/. All other imports are forbidden, for
	// the given reason.
	may    []string
	reason string
	// order has the packages of the group in levels, the highest first. A package may import packages of lower levels. A folder
	// counts as one package. Without order and apart, the packages may import each other.
	order [][]string
	// apart forbids imports between packages of the group.
	apart bool
}

// check is pure, so every group may import it.
const check = "api/check"

// Packages that run real servers for tests use these two: ports, and certificates and links.
const freeport, servertest = "test/freeport", "test/servertest"

// groups are all folders of sidecar/, the highest first.
var groups = map[string]group{
	"server": {
		may:    []string{"api/compiled", "chain", "resources", "document", "conn", "httpkit", "stages/upstream", "keys/secret", "keys/password"},
		reason: "the server only wires components: rules and logins belong to the chain",
	},
	"simulation": {
		may:    []string{"api/compiled", "chain", "resources", "httpkit", "stages/upstream", "login/appapi", "login/session", "login/transport", "keys/apikey"},
		reason: "a simulation runs the chain of the sidecar, and decides nothing itself; it logs in as the app does, and sends tokens as a client does",
	},
	"chain": {
		may:    []string{"api/compiled", "resources", "audit/trail", "stages", "login", "keys", "usage", "httpkit"},
		reason: "the chain turns a document into a snapshot: connections and stores belong to resources, listeners to the server",
	},
	"resources": {
		may:    []string{"api/compiled", "audit", "stages", "login", "keys", "lookup", "store", "usage", "pool", "span", "telemetry"},
		reason: "resources outlive snapshots. They provide the stores and metrics of the stages, and do not depend on the chain",
	},
	"usage": {
		may:    []string{"httpkit"},
		reason: "usage is a sink of events: it knows no policies, stages and stores",
	},
	"span": {reason: "a span can be made by everything that does I/O"},
	"telemetry": {
		may:    []string{"keys/secret"},
		reason: "exporters know no requests: what is exported is made elsewhere",
	},
	"pool": {reason: "the pool is a leaf, so that keys can use it as well"},
	"document": {
		may:    []string{"api/compiled", "keys/secret"},
		reason: "sources of documents are independent of their content",
	},
	"stages": {
		may:    []string{"httpkit", "keys", "lookup", "store/keyspace"},
		reason: "a stage has its own small Config, and is tested without documents, logins, connections and other stages",
		apart:  true,
	},
	"stages/upstream": {
		may:    []string{"httpkit", "conn/http1"},
		reason: "the proxy to the app is the one stage with connections of its own: those of the engine's client",
	},
	"login": {
		may:    []string{"audit/record", "httpkit", "keys", "lookup", "store/keyspace"},
		reason: "login packages have their own small Configs, and are tested without documents, connections and other stages",
		order:  [][]string{{"appapi", "backchannel", "endpoints", "loginstage", "renewal"}, {"transport", "subject"}, {"token"}, {"session", "revocation"}},
	},
	"login/logintest": {
		may:    []string{"httpkit", "keys", "login", "stages/authn"},
		reason: "logintest puts a stage behind real authentication, for tests",
	},
	"conn": {
		may:    []string{"httpkit", "keys/secret", "keys/certificate"},
		reason: "connections are below HTTP: they do not depend on policies, stages and logins",
		order:  [][]string{{"http1", "listen", "passthrough", "probe", "redirect", "secure", "sockets", "websocket"}, {"framing", "capacity", "budget"}, {"nonblock", "pace", "share"}},
	},
	"keys": {
		may:    []string{"pool", "span"},
		reason: "keys are independent of their use and exist only in memory: no stage, no login, no store",
		order:  [][]string{{"dpop"}, {"signing", "jwt", "certificate"}, {"vault", "jwks", "htpasswd", "apikey"}, {"keyfile"}, {"secret", "password", "passwordrules"}},
	},
	"audit": {
		may:    []string{"httpkit/event", "httpkit/clientnet", "keys/secret", "store/keyspace", "telemetry"},
		reason: "the audit trail knows events, and no requests, stages and documents; connections are given to it",
		order:  [][]string{{"drain"}, {"trail", "rows", "logsink", "ocsf", "retention", "stream", "otlpsink"}, {"personal", "verify"}, {"spool", "hashchain", "auditsql"}, {"record"}},
	},
	"audit/auditsql/auditsqltest": {
		may:    []string{"audit/auditsql", "store/postgrestest"},
		reason: "auditsqltest makes databases for tests",
	},
	"lookup": {
		may:    []string{"keys/secret", "span"},
		reason: "services of the user's are asked about single values: they know no requests, stages and logins",
		order:  [][]string{{"breached", "challenge"}, {"service"}},
	},
	"store": {
		may:    []string{"keys/secret", "span"},
		reason: "a store client is independent of the stored data",
		order:  [][]string{{"statetest"}, {"redistest", "postgrestest"}, {"redis", "postgres"}, {"breaker", "keyspace"}},
	},
	"httpkit": {may: []string{"span"}, reason: "httpkit is the base of all stages, so it imports none"},
}

// inner returns the path of a package below sidecar/, and its group. ok is false outside of sidecar/.
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

// TestGroups checks every import against the groups, which are folders.
func TestGroups(t *testing.T) {
	for _, p := range list(t) {
		path, name, ok := inner(p.ImportPath)
		if !ok {
			continue
		}
		if name == "" {
			t.Errorf("sidecar/%s belongs to no group: add it to groups, with what it may import", path)
			continue
		}
		for _, i := range p.Imports {
			if why := forbidden(path, name, i); why != "" {
				t.Errorf("sidecar/%s imports %s: %s", path, strings.TrimPrefix(i, module), why)
			}
		}
	}
}

// forbidden returns the reason why a package of the group must not import another one, or "".
func forbidden(path, name, imported string) string {
	target, ok := strings.CutPrefix(imported, module)
	if !ok || under(target, check) || (under(target, freeport) || under(target, servertest)) && strings.HasSuffix(path, "test") {
		return ""
	}
	g := groups[name]
	target = strings.TrimPrefix(target, "sidecar/")
	if to, toName, ok := inner(imported); ok && toName == name {
		return g.forbiddenInside(strings.TrimPrefix(path, name+"/"), strings.TrimPrefix(to, name+"/"))
	}
	for _, may := range g.may {
		if under(target, may) {
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
		return "it is not on a lower level of the group"
	}
	return ""
}

// level returns -1 for a package that is not in the order.
func (g group) level(folder string) int {
	return slices.IndexFunc(g.order, func(level []string) bool { return slices.Contains(level, folder) })
}

// TestGroupsAreTheFolders: every folder has a place in the picture, and no other folder has one.
func TestGroupsAreTheFolders(t *testing.T) {
	for _, folder := range folders(t, "") {
		if _, ok := groups[folder]; !ok {
			t.Errorf("sidecar/%s has no rule: add it to groups, with what it may import", folder)
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
				t.Errorf("sidecar/%s/%s is not in the order of its group", name, folder)
			}
		}
		for _, folder := range ordered {
			if !slices.Contains(present, folder) {
				t.Errorf("the order of sidecar/%s lists %s, which does not exist", name, folder)
			}
		}
	}
}

// folders returns the subfolders of a folder of sidecar/.
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

// TestGroupsHaveNoCycle: groups import only groups on lower levels, so that the picture can be drawn.
func TestGroupsHaveNoCycle(t *testing.T) {
	var visit func(name string, above []string)
	visit = func(name string, above []string) {
		if slices.Contains(above, name) {
			t.Errorf("groups may import each other in a cycle: %s", strings.Join(append(above, name), " → "))
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

// TestForbiddenEdges: the rules forbid these imports.
func TestForbiddenEdges(t *testing.T) {
	tests := map[string]struct {
		from, to  string
		forbidden bool
	}{
		"a stage imports another":              {"stages/authn", "sidecar/stages/authz", true},
		"a stage imports its own store":        {"stages/ratelimit", "sidecar/stages/ratelimit/gcra", false},
		"a stage imports the wire format":      {"stages/authn", "api/compiled", true},
		"a stage imports api/check":            {"stages/cors", "api/check", false},
		"a stage imports a login":              {"stages/authz", "sidecar/login/session", true},
		"a stage imports the redis client":     {"stages/ratelimit/ratelimitredis", "sidecar/store/redis", true},
		"a stage imports resources":            {"stages/authn", "sidecar/resources", true},
		"a stage imports the pool":             {"stages/authn", "sidecar/pool", true},
		"a stage imports the kit":              {"stages/authn", "sidecar/httpkit/request", false},
		"the kit imports a stage":              {"httpkit/response", "sidecar/stages/authn", true},
		"the kit imports the kit":              {"httpkit/response", "sidecar/httpkit/httperr", false},
		"keys import resources":                {"keys/vault", "sidecar/resources", true},
		"keys import the pool":                 {"keys/vault", "sidecar/pool", false},
		"keys import a login":                  {"keys/signing", "sidecar/login/token", true},
		"keys import a higher level":           {"keys/jwks", "sidecar/keys/jwt", true},
		"sessions import tokens":               {"login/session", "sidecar/login/token", true},
		"tokens import sessions":               {"login/token", "sidecar/login/session", false},
		"sessions import revocations":          {"login/session", "sidecar/login/revocation", true},
		"connections import another":           {"conn/listen", "sidecar/conn/http1/server", true},
		"connections import a stage":           {"conn/listen", "sidecar/stages/upstream", true},
		"a store imports its user":             {"store/redis", "sidecar/login/session", true},
		"resources import the chain":           {"resources", "sidecar/chain", true},
		"the pool imports anything":            {"pool", "sidecar/keys/secret", true},
		"the chain imports the server":         {"chain", "sidecar/server", true},
		"the chain imports connections":        {"chain", "sidecar/conn/listen", true},
		"the chain imports stores":             {"chain", "sidecar/store/redis", true},
		"the server imports a stage's package": {"server", "sidecar/stages/authn", true},
		"the server imports the proxy":         {"server", "sidecar/stages/upstream", false},
		"documents import the chain":           {"document", "sidecar/chain", true},
		"anything imports the operator":        {"server", "controllers/compile", true},
		"a package of another organisation":    {"httpkit/route", "../x", false},
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
