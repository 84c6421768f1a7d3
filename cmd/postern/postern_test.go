package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/check/keyset"
)

const sample = "../../config/samples/securitypolicy.yaml"

// run executes a command line and returns its standard output and error.
func run(t *testing.T, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := newCommand()
	var out, errOut bytes.Buffer
	cmd.SetIn(strings.NewReader(stdin))
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(args)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

func changed(t *testing.T, replace, with string) string {
	t.Helper()
	b, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	out := strings.Replace(string(b), replace, with, 1)
	if out == string(b) {
		t.Fatalf("%q is not in the sample", replace)
	}
	return out
}

// TestLintRefusesWhatDoesNotFit: a policy within the schema's bounds can give a document that no ConfigMap holds, because the
// document is indented.
func TestLintRefusesWhatDoesNotFit(t *testing.T) {
	set := `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}],"note":[` + strings.Repeat("[0],", 12000) + `0]}`
	policy := "apiVersion: postern.dev/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: orders, namespace: shop}\nspec:\n  selector: {}\n  jwt:\n    providers:\n"
	for i := range 6 {
		policy += fmt.Sprintf("    - {name: p%d, issuer: 'https://i%d.example', audiences: [a], algorithms: [EdDSA], jwks: {inline: '%s'}}\n", i, i, set)
	}
	out, _, err := run(t, policy, "lint", "-f", "-")
	if err == nil || !strings.Contains(out, "error: SecurityPolicy/orders: spec: ") {
		t.Errorf("lint: %v, %.500s", err, out)
	}
}

// TestLintEscapes: a file's names cannot move the terminal's cursor.
func TestLintEscapes(t *testing.T) {
	out, _, err := run(t, "apiVersion: postern.dev/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: \"p\\e[31mé\"}\nspec: {selector: {}, \"x\\e[2J\": 1}\n", "lint", "-f", "-")
	if err == nil || strings.Contains(out, "\x1b") || !strings.Contains(out, `SecurityPolicy/p\x1b[31mé: spec.x\x1b[2J: unknown field`) {
		t.Errorf("lint: %v, %q", err, out)
	}
}

func TestLint(t *testing.T) {
	tests := map[string]struct {
		replace, with string
		wantErr       bool
		wantLine      string
	}{
		"valid":               {"forwardToken: true", "forwardToken: false", false, "-: 1 policy is valid"},
		"an expression":       {`headers["x-tenant"]`, `headers["X-Tenant"]`, true, `spec.authorization.rules[1].expression: line 1, column 64: names of headers are in lower case: write "x-tenant"`},
		"violates the schema": {"5/minute", "5/fortnight", true, "-:50: error: SecurityPolicy/orders: spec.rateLimits[0].limit:"},
		"violates a CEL rule": {"[RS256, ES256]", "[RS256, HS256]", true, "-:26: error: SecurityPolicy/orders: spec.jwt.providers[0]:"},
		"rejected by a stage": {`jwks: {uri: "https://id.example.com/jwks.json", refreshInterval: 5m}`, `jwks: {inline: '{"keys":[]}'}`, true, "error: SecurityPolicy/orders: spec.jwt.providers[0].jwks.inline: "},
		"open route":          {"[/public/**, /healthz]", "[/**]", false, "-: 1 policy is valid"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, _, err := run(t, changed(t, tt.replace, tt.with), "lint", "-f", "-")
			if (err != nil) != tt.wantErr || !strings.Contains(out, tt.wantLine) {
				t.Errorf("error %v, output:\n%s\nwant a line with %q", err, out, tt.wantLine)
			}
			if tt.wantErr && !errors.Is(err, errFindings) {
				t.Errorf("error = %v", err)
			}
		})
	}
	// The class is not in the file, so lint cannot know whether it names a Vault, and does not warn.
	if out, _, err := run(t, "", "lint", "-f", "../../config/samples/tokens.yaml"); err != nil || !strings.Contains(out, "1 policy is valid") || strings.Contains(out, "warning") {
		t.Errorf("a policy with secrets in Vault: %v, %s", err, out)
	}
	if _, _, err := run(t, "", "lint", "-f", sample, "-f", "absent.yaml"); err == nil {
		t.Error("a missing file is accepted")
	}
	if _, _, err := run(t, "", "lint"); err == nil {
		t.Error("no file is accepted")
	}
}

// TestAClassThatNoPolicyUses: a class in the file that is neither default nor named is an error, not silence.
func TestAClassThatNoPolicyUses(t *testing.T) {
	policy := changed(t, "forwardToken: true", "forwardToken: false")
	const class = "---\napiVersion: postern.dev/v1alpha1\nkind: SidecarClass\nmetadata: {name: edge}\nspec: {logLevel: debug}\n"
	for name, args := range map[string][]string{
		"lint": {"lint", "-f", "-"}, "compile": {"compile", "-f", "-"}, "run": {"run", "-f", "-", "--upstream", "http://127.0.0.1:1", "--listen", "none", "--admin", ""},
	} {
		out, stderr, err := run(t, policy+class, args...)
		if said := out + stderr; !errors.Is(err, errFindings) || !strings.Contains(said, "spec.sidecarClassName") || !strings.Contains(said, "sidecarClassName: edge") {
			t.Errorf("%s: error %v, output:\n%s", name, err, said)
		}
	}
	marked := strings.Replace(class, "{name: edge}", `{name: edge, annotations: {postern.dev/is-default-class: "true"}}`, 1)
	if out, _, err := run(t, policy+marked, "lint", "-f", "-"); err != nil {
		t.Errorf("a default class: %v\n%s", err, out)
	}
	named := strings.Replace(policy, "sidecarClassName: default", "sidecarClassName: edge", 1)
	if out, _, err := run(t, named+class, "lint", "-f", "-"); err != nil {
		t.Errorf("a named class: %v\n%s", err, out)
	}
}

func TestLintWarns(t *testing.T) {
	out, _, err := run(t, changed(t, "audiences: [orders]\n", "audiences: []\n"), "lint", "-f", "-")
	if err != nil || !strings.Contains(out, "-:28: warning: SecurityPolicy/orders: spec.jwt.providers[0].audiences: no audience is required") {
		t.Errorf("error %v, output:\n%s", err, out)
	}
}

func TestCompile(t *testing.T) {
	out, _, err := run(t, "", "compile", "-f", sample)
	if err != nil || !strings.Contains(out, `"schemaVersion": 1`) || !strings.Contains(out, `"issuer": "https://id.example.com"`) {
		t.Errorf("error %v, output:\n%s", err, out)
	}
	two := changed(t, "name: orders", "name: a") + "---\n" + changed(t, "name: orders", "name: b")
	if _, _, err := run(t, two, "compile", "-f", "-"); err == nil || !strings.Contains(err.Error(), "choose one with --policy") {
		t.Errorf("two policies: %v", err)
	}
	if out, _, err := run(t, two, "compile", "-f", "-", "--policy", "b"); err != nil || !strings.Contains(out, `"name": "b"`) {
		t.Errorf("one of two: %v\n%s", err, out)
	}
	_, stderr, err := run(t, changed(t, "5/minute", "often"), "compile", "-f", "-")
	if err == nil || !strings.Contains(stderr, "spec.rateLimits[0].limit") {
		t.Errorf("a bad policy: %v, %s", err, stderr)
	}
}

func TestCompileWithoutNamespace(t *testing.T) {
	const samples = "../../config/samples/"
	class, err1 := os.ReadFile(samples + "sidecarclass.yaml")
	policy, err2 := os.ReadFile(samples + "tokens.yaml")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	in := string(class) + "\n---\n" + strings.Replace(string(policy), "  namespace: shop\n", "", 1)
	out, stderr, err := run(t, in, "compile", "-f", "-")
	if err != nil || !strings.Contains(out, `"namespace": "default"`) || !strings.Contains(out, `"clientID": "default/accounts"`) {
		t.Errorf("error %v %s, output:\n%s", err, stderr, out)
	}
}

func TestRunRefuses(t *testing.T) {
	for name, args := range map[string][]string{
		"no upstream":        {"run", "-f", sample},
		"an https upstream":  {"run", "-f", sample, "--upstream", "https://127.0.0.1"},
		"a missing file":     {"run", "-f", "absent.yaml", "--upstream", "http://127.0.0.1:1"},
		"an invalid address": {"run", "-f", sample, "--upstream", "http://127.0.0.1:1", "--listen", "256.0.0.1:1"},
	} {
		if _, _, err := run(t, "", args...); err == nil {
			t.Errorf("%s: it ran", name)
		}
	}
}

func TestTokens(t *testing.T) {
	key, _, err := run(t, "", "token", "new-key")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	public, _, err := run(t, "", "token", "jwks", "--key", file)
	if err != nil || strings.Contains(public, `"d"`) {
		t.Fatalf("%v: %s", err, public)
	}
	set, err := keyset.Parse([]byte(public), keyset.Options{Algorithms: []string{"ES256"}})
	if err != nil || set.Len() != 1 {
		t.Fatalf("the sidecar cannot use the keys: %v", err)
	}
	token, _, err := run(t, "", "token", "sign", "--key", file, "--issuer", "i", "--audience", "x", "--subject", "ada",
		"--claim", "tenant=acme", "--claim", `realm={"roles":["admin"]}`)
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(strings.TrimSpace(token), claims); err != nil {
		t.Fatal(err)
	}
	if claims["sub"] != "ada" || claims["tenant"] != "acme" || claims["realm"].(map[string]any)["roles"] == nil {
		t.Errorf("claims = %v", claims)
	}
	expired, _, err := run(t, "", "token", "sign", "--key", file, "--lifetime", "-1m")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := jwt.NewParser().ParseUnverified(strings.TrimSpace(expired), claims); err != nil {
		t.Fatal(err)
	}
	if exp, err := claims.GetExpirationTime(); err != nil || exp.After(time.Now()) {
		t.Errorf("exp = %v, %v", exp, err)
	}
	for name, args := range map[string][]string{
		"a public key":     {"--key", "-"},
		"an invalid claim": {"--key", file, "--claim", "tenant"},
		"a missing key":    {"--key", "absent.json"},
	} {
		if _, _, err := run(t, public, append([]string{"token", "sign"}, args...)...); err == nil {
			t.Errorf("%s: it signed", name)
		}
	}
}
