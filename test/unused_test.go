package test

import (
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/sidecar/chain"
)

// profiled marks the process of TestUnusedLibraries in which every allocation is recorded.
const profiled = "TEST_EVERY_ALLOCATION"

// libraries are those that a sidecar links for some policies, by the start of their functions' names.
var libraries = map[string]string{
	"CEL": "github.com/google/cel-go/", "PostgreSQL": "github.com/jackc/", "Redis": "github.com/redis/", "Vault": "github.com/hashicorp/vault/",
	"OpenTelemetry": "go.opentelemetry.io/otel/sdk/",
}

// TestUnusedLibraries: a sidecar starts a library only for a policy that needs it. A library that does anything allocates, and in a process that
// records each allocation none is missed.
func TestUnusedLibraries(t *testing.T) {
	if os.Getenv(profiled) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestUnusedLibraries$", "-test.count=1")
		cmd.Env = append(os.Environ(), profiled+"=1", "GODEBUG=memprofilerate=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	const rule = "authorization: {rules: [{name: a, match: [{paths: [/**]}], require: Anonymous"
	const usual = "selector: {}\nrevocation: {}\nheaders: {preset: API}\nrateLimits: [{name: a, limit: 5/minute, keyBy: [{type: ClientAddress}]}]\n" + rule + "}]}\n"
	const vault = "vault: {address: 'https://127.0.0.1:1', auth: {kubernetes: {role: r}}}\n"
	const secret = "{vault: {path: secret/a, key: k}}"
	tests := map[string]struct {
		spec, class string
		want        []string
	}{
		"no sections":    {"selector: {}", "", nil},
		"usual sections": {usual, "", nil},
		"a class of which nothing is used": {
			usual, "database: {address: '127.0.0.1:1', name: a, credentials: " + credentials + "}\n" + vault, nil,
		},
		"an expression": {"selector: {}\n" + rule + ", expression: 'request.method == \"GET\"'}]}", "", []string{"CEL"}},
		"telemetry":     {"selector: {}", "telemetry: {otlp: {endpoint: '127.0.0.1:1', protocol: http}}", []string{"OpenTelemetry"}},
		"Redis":         {"selector: {}\nrateLimits: [{name: a, limit: 5/minute, keyBy: [{type: ClientAddress}]}]", "redis: {addresses: ['127.0.0.1:1']}", []string{"Redis"}},
		"PostgreSQL": {
			"selector: {}\naudit: {sinks: [PostgreSQL]}",
			"database: {address: '127.0.0.1:1', name: a, tls: {mode: Disable}, credentials: " + credentials + "}\naudit: {keyRef: {secretKeyRef: {name: a, key: k}}}", []string{"PostgreSQL"},
		},
		"Vault": {"selector: {}\naudit: {sinks: [Log]}", vault + "audit: {keyRef: " + secret + "}", []string{"Vault"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := documentOf(t, tt.spec, tt.class)
			before := allocations()
			s, err := chain.Build(p, chain.Config{Resources: newShared(t), OnlyPort: 80, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			s.Activate()
			s.Close()
			after := allocations()
			var used []string
			for library, n := range after {
				if n > before[library] {
					used = append(used, library)
				}
			}
			if slices.Sort(used); !slices.Equal(used, tt.want) {
				t.Errorf("uses %v, want %v", used, tt.want)
			}
		})
	}
}

const credentials = "{userRef: {secretKeyRef: {name: a, key: u}}, passwordRef: {secretKeyRef: {name: a, key: p}}}"

// documentOf compiles the policy.
func documentOf(t *testing.T, spec, class string) *compiled.Policy {
	t.Helper()
	policy, c := &v1alpha1.SecurityPolicy{}, &v1alpha1.SidecarClass{}
	policy.Namespace, policy.Name = "shop", "orders"
	if err := yaml.UnmarshalStrict([]byte(spec), &policy.Spec); err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(class), &c.Spec); err != nil {
		t.Fatal(err)
	}
	p, findings := compile.Compile(policy, c)
	if p == nil {
		t.Fatalf("not accepted: %v", findings)
	}
	p.Revision = 1
	return p
}

// allocations returns the number of allocations of each library since the process began.
func allocations() map[string]int64 {
	for range 3 { // the profile has what was allocated before the last collection but one
		runtime.GC()
	}
	var records []runtime.MemProfileRecord
	n, ok := runtime.MemProfile(nil, true)
	for !ok {
		records = make([]runtime.MemProfileRecord, n+1000) // more are added meanwhile
		n, ok = runtime.MemProfile(records, true)
	}
	counts := map[string]int64{}
	for _, r := range records[:n] {
		frames := runtime.CallersFrames(r.Stack())
		for more := true; more; {
			var f runtime.Frame
			f, more = frames.Next()
			for library, prefix := range libraries {
				if strings.HasPrefix(f.Function, prefix) {
					counts[library] += r.AllocObjects
				}
			}
		}
	}
	return counts
}
