package manifest

import (
	"os"
	"strings"
	"testing"
)

func sample(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("../../config/samples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSamplesAreGood(t *testing.T) {
	objects, findings, err := Read(t.Context(), []byte(sample(t, "sidecarclass.yaml")+"---\n"+sample(t, "securitypolicy.yaml")+"---\nkind: ConfigMap\napiVersion: v1\n"))
	if err != nil || len(findings) > 0 {
		t.Fatalf("findings %+v, %v", findings, err)
	}
	if len(objects.Policies) != 1 || len(objects.Classes) != 1 || objects.Others != 1 {
		t.Errorf("read %d policies, %d classes, %d others", len(objects.Policies), len(objects.Classes), objects.Others)
	}
	if got := objects.Policies[0].Spec.JWT.Providers[0].Leeway; got != "30s" {
		t.Errorf("leeway = %q", got)
	}
}

func TestReadFinds(t *testing.T) {
	tests := map[string]struct {
		replace, with string
		wantField     string
		// wantLineOf is a text in the line that the finding must point to.
		wantLineOf  string
		wantMessage string
	}{
		"an unknown field":           {"  mode: Enforce", "  modus: Enforce", "spec.modus", "modus:", "unknown field: there are apiKeys, audit, "},
		"an unknown nested field":    {"leeway: 30s", "leway: 30s", "spec.jwt.providers[0].leway", "leway:", "unknown field: there are algorithms, "},
		"a number for a text":        {"leeway: 30s", "leeway: 30", "spec.jwt.providers[0].leeway", "leeway: 30", "with its unit, such as 30s"},
		"an unsupported value":       {"undeclaredPorts: Deny", "undeclaredPorts: Maybe", "spec.undeclaredPorts", "undeclaredPorts:", `supported values: "Deny", "Allow"`},
		"an invalid rate":            {"limit: 5/minute", "limit: 5/fortnight", "spec.rateLimits[0].limit", "limit:", "such as 5/minute"},
		"no key source":              {`jwks: {uri: "https://id.example.com/jwks.json", refreshInterval: 5m}`, "jwks: {}", "spec.jwt.providers[0].jwks", "jwks:", "exactly one of uri, inline, secretKeyRef and vault"},
		"mixed algorithms":           {"[RS256, ES256]", "[RS256, HS256]", "spec.jwt.providers[0]", "- name: corp", "mixes HMAC"},
		"any origin with cookies":    {`["https://app.example.com", "https://*.preview.example.com"]`, `["*"]`, "spec.cors", "cors:", "any site could act as the user"},
		"a duplicate name":           {"  rateLimits:\n", "  rateLimits:\n  - {name: login, limit: 1/second}\n", "spec.rateLimits[1]", "- name: login", "Duplicate"},
		"no name":                    {"  name: orders\n", "", "metadata.name", "metadata:", "an object needs a name"},
		"a name YAML reads as false": {"  name: orders\n", "  name: no\n", "metadata.name", "name: no", `in quotes, such as "no"`},
		"a rule YAML reads as false": {"{name: public,", "{name: off,", "spec.authorization.rules[0].name", "name: off", `in quotes, such as "no"`},
		"a wrong kind":               {"kind: SecurityPolicy", "kind: SecurityPolicies", "kind", "apiVersion", "there is no SecurityPolicies"},
		"a value of the wrong type":  {"forwardToken: true", "forwardToken: maybe", "spec.jwt.providers[0].forwardToken", "forwardToken:", "boolean"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := strings.Replace(sample(t, "securitypolicy.yaml"), tt.replace, tt.with, 1)
			objects, findings, err := Read(t.Context(), []byte(file))
			if err != nil || len(findings) == 0 {
				t.Fatalf("findings %+v, %v", findings, err)
			}
			if len(objects.Policies) > 0 {
				t.Error("a policy with findings was kept")
			}
			f := findings[0]
			lines := strings.Split(file, "\n")
			if f.Field != tt.wantField || !strings.Contains(f.Message, tt.wantMessage) || !strings.Contains(lines[f.Line-1], tt.wantLineOf) {
				t.Errorf("finding = %+v, at %q; want %s, %q, at a line with %q", f, lines[f.Line-1], tt.wantField, tt.wantMessage, tt.wantLineOf)
			}
		})
	}
}

func TestReadRefusesWhatIsNoManifest(t *testing.T) {
	for name, file := range map[string]string{
		"broken YAML":   "a: [",
		"a duplicate":   "kind: SecurityPolicy\nkind: SecurityPolicy\n",
		"a list":        "- a\n- b\n",
		"a text":        "hello",
		"too large":     strings.Repeat("#", MaxSize+1),
		"an alias bomb": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := Read(t.Context(), []byte(file)); err == nil {
				t.Error("the file was read")
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"securitypolicy.yaml", "sidecarclass.yaml"} {
		b, err := os.ReadFile("../../config/samples/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("apiVersion: v1\nkind: List\nx: &a {apiVersion: v1, kind: Secret, metadata: {name: s}, data: {k: dg==}}\nitems: [*a, {}, null, a, [], {apiVersion: postern.dev/v1alpha1, kind: SecurityPolicy}]\n"))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems: {a: b}\n"))
	f.Add([]byte("apiVersion: v1\nkind: Secret\nmetadata: []\ndata: 1\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		lines := strings.Count(string(file), "\n") + 1
		_, findings, err := Read(t.Context(), file)
		for _, finding := range findings {
			if err == nil && (finding.Line < 0 || finding.Line > lines+1) {
				t.Errorf("line %d of a file of %d: %+v", finding.Line, lines, finding)
			}
		}
	})
}
