package main

import (
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/posterndev/postern/sidecar/keys/apikey"
)

// keyed is a policy with API keys in Vault, users in a Secret, and login protection.
const keyed = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: shop, namespace: shop}
spec:
  selector: {}
  sidecarClassName: edge
  jwt:
    providers:
    - {name: corp, issuer: https://id.example.com, audiences: [shop], algorithms: [ES256], maxLifetime: 1h, jwks: {uri: "https://127.0.0.1:1/jwks"}}
  authorization:
    default: Authenticated
    rules: [{name: public, match: [{paths: [/login]}], require: Anonymous}]
  apiKeys:
    from: [{header: X-API-Key}, {query: key}]
    keysRef: {vault: {path: secret/shop/keys, key: keys.yaml}}
    usersRef: {secretKeyRef: {name: shop-users, key: htpasswd}}
  loginProtection:
    routes: [{name: login, match: [{methods: [POST], paths: [/login]}], account: {json: email}, failure: {statuses: [401]}}]
    perAccount: {failures: 5, within: 15m, lockFor: 1m, maxLock: 1h}
    response: TooManyRequests
---
apiVersion: postern.dev/v1alpha1
kind: SidecarClass
metadata: {name: edge}
spec:
  vault: {address: "https://vault.example.com", auth: {kubernetes: {role: shop}}}
`

// secretsOf writes the files of keyed: a key that expires, and a user. It returns the key and the folder.
func secretsOf(t *testing.T) (key, dir string) {
	t.Helper()
	key, err := apikey.New()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for name, text := range map[string]string{
		"secret-shop-keys/keys.yaml": "- {id: ci, subject: svc, hash: '" + apikey.Hash(key) + "', expires: 2026-01-31T13:00:00Z}\n",
		"shop-users/htpasswd":        "ada:" + string(hash) + "\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), text)
	}
	return key, dir
}

// TestCasesWithSecrets: API keys and users are read from --secrets-dir, which stays as it is, and the clock of the case is that of keys
// and of locks.
func TestCasesWithSecrets(t *testing.T) {
	key, dir := secretsOf(t)
	cases := `at: 2026-01-31T12:00:00Z
cases:
- name: a key that expires
  steps:
  - {request: {path: /x, headers: {X-API-Key: KEY}}, expect: {status: 200}}
  - {request: {path: "/x?key=KEY"}, expect: {status: 200}}
  - {after: 61m, request: {path: /x, headers: {X-API-Key: KEY}}, expect: {status: 401, code: invalid-api-key}}
- name: a user
  request: {path: /x, headers: {Authorization: "Basic YWRhOm9wZW4gc2VzYW1l"}}
  expect: {status: 200}
- name: a lock that ends
  steps:
  - {repeat: 5, request: {method: POST, path: /login, headers: {Content-Type: application/json}, body: '{"email": "ada@example.com"}'}, app: {status: 401}, expect: {status: 401}}
  - {request: {method: POST, path: /login, headers: {Content-Type: application/json}, body: '{"email": "ada@example.com"}'}, expect: {status: 429, stage: login-protection}}
  - {after: 61s, request: {method: POST, path: /login, headers: {Content-Type: application/json}, body: '{"email": "ada@example.com"}'}, expect: {status: 200}}
`
	args, _ := writeFiles(t, keyed, strings.ReplaceAll(cases, "KEY", key))
	stdout, stderr, err := run(t, "", append([]string{"test", "--secrets-dir", dir}, args...)...)
	if err != nil || !strings.Contains(stdout, "3 cases, 0 failed") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	stdout, _, err = run(t, "", append([]string{"test", "--secrets-dir", dir + "/none"}, args...)...)
	if !errors.Is(err, errFindings) || !strings.Contains(stdout, "503 api-keys-unavailable") || !strings.Contains(stdout, "missing here: the file "+dir+"/none/secret-shop-keys/keys.yaml") {
		t.Errorf("without files: %v\n%s", err, stdout)
	}
}

// TestExplainKeepsSecrets: neither the text nor an error has an API key, a password or a token, wherever the request has it, and whether
// it is valid or not.
func TestExplainKeepsSecrets(t *testing.T) {
	key, dir := secretsOf(t)
	args, _ := writeFiles(t, strings.Replace(keyed, "response: TooManyRequests", "response: Same", 1))
	wrong := key[:len(key)-1] + "_"
	if stdout := mustRun(t, "", append([]string{"explain", "--secrets-dir", dir}, args...)...); !strings.Contains(stdout, "401 no-credentials") {
		t.Fatalf("without a key:\n%s", stdout)
	}
	for name, request := range map[string][]string{
		"key in a field":      {"--header", "X-API-Key: " + key},
		"wrong key":           {"--header", "X-API-Key: " + wrong},
		"key in the query":    {"--path", "/x?key=" + key},
		"wrong, in the query": {"--path", "/x?key=" + wrong},
		"unknown place":       {"--header", "X-Other: " + key, "--path", "/x?other=" + key},
		"both":                {"--header", "X-API-Key: " + key, "--path", "/x?key=" + key},
		"password":            {"--header", "Authorization: Basic YWRhOm9wZW4gc2VzYW1l"},
		"wrong password":      {"--header", "Authorization: Basic YWRhOm9wZW4gc2VzYW1lIQ=="},
		"token":               {"--header", "Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.e30." + key},
		"cookie":              {"--header", "Cookie: session=" + key},
		"body":                {"--method", "POST", "--path", "/login", "--header", "Content-Type: application/json", "--body", `{"email": "a@b.c", "password": "` + key + `"}`},
		"broken body":         {"--method", "POST", "--path", "/login", "--header", "Content-Type: application/json", "--body", `{"password": "` + key},
		"host":                {"--host", key},
		"no host":             {"--host", key + " x"},
		"broken path":         {"--path", "/%zz?key=" + key},
		"no path":             {"--path", "x?key=" + key},
		"broken field":        {"--header", "X-API-Key " + key},
		"broken name":         {"--header", key + " y: x"},
		"method":              {"--method", "G " + key},
		"address":             {"--address", "10.0.0.1%" + key},
		"claims":              {"--claims", `{"sub": "` + key + `"`},
		"argument":            {key},
		"token, as argument":  {"--token", key},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(t, "", append(append([]string{"explain", "--secrets-dir", dir}, args...), request...)...)
			all := stdout + stderr + errorText(err)
			for _, secret := range []string{key[:20], "sesame", "c2VzYW1l", "eyJ", "svc", "$2a$"} {
				if strings.Contains(all, secret) {
					t.Errorf("%q is in:\n%s", secret, all)
				}
			}
			if stdout == "" && err == nil {
				t.Error("it says nothing")
			}
		})
	}
}

// TestExplainFetchesKeys: a token that exists is verified with the keys at the URI, and if they are not there the text says so.
func TestExplainFetchesKeys(t *testing.T) {
	key := mustRun(t, "", "token", "new-key")
	jwks := mustRun(t, key, "token", "jwks", "--key", "-")
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, jwks) }))
	defer served.Close()
	policy := strings.ReplaceAll(issuing, "https://127.0.0.1:1/jwks", served.URL)
	second := "\n    - {name: other, issuer: https://other.example.com, audiences: [shop], algorithms: [ES256], maxLifetime: 1h, jwks: {uri: \"https://127.0.0.1:1/other\"}}\n  authorization:"
	args, dir := writeFiles(t, strings.Replace(policy, "\n  authorization:", second, 1), issuing, jwks)
	token := mustRun(t, key, "token", "sign", "--key", "-", "--issuer", "https://id.example.com", "--audience", "shop", "--subject", "ada")
	write(t, dir+"/token", token)
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"fetched":     {[]string{"-f", args[1]}, []string{`a token of the provider "corp" is valid`, "HTTP/1.1 200"}},
		"unavailable": {[]string{"-f", args[3]}, []string{"503 keys-unavailable", `missing here: the keys of the provider "corp", which could not be fetched from its jwks.uri; add them with --jwks FILE`}},
		"from a file": {[]string{"-f", args[3], "--jwks", args[5]}, []string{"HTTP/1.1 200"}},
		"of several":  {[]string{"-f", args[1], "--jwks", args[5]}, []string{"HTTP/1.1 200"}},
	} {
		t.Run(name, func(t *testing.T) {
			stdout := mustRun(t, "", append([]string{"explain", "--path", "/x", "--token-file", dir + "/token"}, tt.args...)...)
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("%q is not in:\n%s", want, stdout)
				}
			}
		})
	}
	if _, _, err := run(t, "", "explain", "-f", args[1], "--jwks", args[5]); err == nil || !strings.Contains(err.Error(), "add it with --token - or --token-file") {
		t.Errorf("--jwks without a token: %v", err)
	}
	account := strings.Replace(issuing, `jwks: {uri: "https://127.0.0.1:1/jwks"}`, `jwks: {uri: "https://127.0.0.1:1/jwks", bearerToken: {serviceAccount: {}}}`, 1)
	write(t, dir+"/account.yaml", account)
	if _, _, err := run(t, "", "explain", "-f", dir+"/account.yaml", "--token-file", dir+"/token"); err == nil || !strings.Contains(err.Error(), "the pod's service account") {
		t.Errorf("keys that only a pod can fetch: %v", err)
	}
	mustRun(t, "", "explain", "-f", dir+"/account.yaml", "--claims", `{"sub": "ada"}`)
}

// TestExitCodes: of the command itself, as CI sees them.
func TestExitCodes(t *testing.T) {
	pass := "cases:\n- {name: a, request: {path: /orders}, expect: {status: 401}}\n"
	args, _ := writeFiles(t, pass, strings.Replace(pass, "401", "200", 1), strings.Replace(pass, "expect", "expects", 1), strings.Replace(pass, "{path: /orders}", "{path: /, token: {provider: x}}", 1))
	policy := []string{"-f", samples + "securitypolicy.yaml"}
	for name, tt := range map[string]struct {
		args []string
		want int
		text string
	}{
		"test passes":        {[]string{"test", "-f", args[1]}, 0, "1 case, 0 failed"},
		"test fails":         {[]string{"test", "-f", args[3]}, 1, "1 case, 1 failed"},
		"test of a bad file": {[]string{"test", "-f", args[5]}, 1, "2.yaml: line 2: field expects not found"},
		"test cannot run":    {[]string{"test", "-f", args[7]}, 1, "cannot be run: "},
		"explain of a pass":  {[]string{"explain", "--path", "/public/x"}, 0, "passed: "},
		"explain of a 401":   {[]string{"explain", "--path", "/orders"}, 0, "refused: "},
		"explain of nothing": {[]string{"explain", "--path", "orders"}, 1, "does not start with /"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], append(tt.args, policy...)...)
			cmd.Env = append(os.Environ(), asPostern+"=1")
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != tt.want || !strings.Contains(string(out), tt.text) {
				t.Errorf("exit code %d, want %d and %q:\n%s", got, tt.want, tt.text, out)
			}
		})
	}
}

// TestJUnitForm: a report has the elements and attributes that JUnit's schema has, in any text of a case, and its counts are right.
func TestJUnitForm(t *testing.T) {
	attributes := map[string][]string{
		"testsuites": {"name", "tests", "failures", "errors", "time"},
		"testsuite":  {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
		"testcase":   {"name", "classname", "file", "line", "time"},
		"failure":    {"message", "type"},
		"error":      {"message", "type"},
	}
	parents := map[string]string{"testsuites": "", "testsuite": "testsuites", "testcase": "testsuite", "failure": "testcase", "error": "testcase"}
	required := map[string][]string{"testsuite": {"name", "tests", "failures", "errors"}, "testcase": {"name", "classname", "time"}}
	names := []string{"]]> & <b>", `"quoted" 'twice'`, `bell \x07 and \u2028`, "\u202e reversed"}
	file := "cases:\n"
	for _, name := range names {
		file += "- {name: \"" + strings.ReplaceAll(name, `"`, `\"`) + "\", request: {path: /orders}, expect: {status: 200, headers: {X-A: \"<\\u0001>\"}}}\n"
	}
	file += "- {name: passes, request: {path: /orders}, expect: {status: 401}}\n- {name: no provider, request: {path: /, token: {provider: x}}, expect: {status: 200}}\n"
	args, _ := writeFiles(t, file, strings.Replace("cases:\n- {name: other, request: {path: /}, expect: {status: 401}}\n", "", "", 1))
	stdout, _, err := run(t, "", append([]string{"test", "-o", "junit", "-f", samples + "securitypolicy.yaml"}, args...)...)
	if !errors.Is(err, errFindings) || !strings.HasPrefix(stdout, `<?xml version="1.0" encoding="UTF-8"?>`) {
		t.Fatalf("%v\n%s", err, stdout)
	}
	counts, path := map[string]int{}, []string{""}
	for d := xml.NewDecoder(strings.NewReader(stdout)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		switch e := token.(type) {
		case xml.StartElement:
			name := e.Name.Local
			counts[name]++
			if parent, ok := parents[name]; !ok || path[len(path)-1] != parent {
				t.Errorf("%s is in %v", name, path)
			}
			has := map[string]string{}
			for _, a := range e.Attr {
				has[a.Name.Local] = a.Value
				if !slices.Contains(attributes[name], a.Name.Local) {
					t.Errorf("%s has the attribute %s", name, a.Name.Local)
				}
			}
			for _, want := range required[name] {
				if _, ok := has[want]; !ok {
					t.Errorf("%s has no %s, but %v", name, want, slices.Collect(maps.Keys(has)))
				}
			}
			if name == "testcase" {
				if _, err := time.ParseDuration(has["time"] + "s"); err != nil {
					t.Errorf("time %q", has["time"])
				}
			}
			path = append(path, name)
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
	if counts["testsuites"] != 1 || counts["testsuite"] != 2 || counts["testcase"] != 7 || counts["failure"] != 4 || counts["error"] != 1 {
		t.Errorf("%v\n%s", counts, stdout)
	}
	if !strings.Contains(stdout, `tests="6" failures="4" errors="1"`) {
		t.Errorf("the counts are not in:\n%s", stdout)
	}
}

// TestFailuresKeepSecrets: what a failed case prints has no credential of the request.
func TestFailuresKeepSecrets(t *testing.T) {
	key, dir := secretsOf(t)
	args, _ := writeFiles(t, strings.Replace(keyed, "  apiKeys:\n", "  apiKeys:\n    forwardKey: true\n", 1), `at: 2026-01-31T12:00:00Z
cases:
- name: fields
  request: {path: "/x?key=`+key+`", headers: {Cookie: "a=hush", X-Copy: `+key+`}, token: {claims: {sub: ada}}}
  expect: {status: 204, appHeaders: {Authorization: null, Cookie: null, X-Copy: null}}
- name: one of the app
  request: {path: /login}
  app: {headers: {Set-Cookie: "a=hush; Path=/"}}
  expect: {headers: {Set-Cookie: null, X-Other: `+key+`}}
`)
	stdout, stderr, err := run(t, "", append([]string{"test", "--secrets-dir", dir, "-o", "junit=" + dir + "/report.xml"}, args...)...)
	report, readErr := os.ReadFile(dir + "/report.xml")
	if all := stdout + stderr + string(report); !errors.Is(err, errFindings) || readErr != nil || !strings.Contains(all, "headers.Set-Cookie: want none, got a value that is not printed") ||
		strings.Contains(all, key[5:]) || strings.Contains(all, "hush") || strings.Contains(all, "eyJ") {
		t.Errorf("%v %v\n%s", err, readErr, all)
	}
}

// TestNoServices: no command sends the secret of a challenge or a part of a password's hash to a service, which is unavailable for the
// policy.
func TestNoServices(t *testing.T) {
	asked := make(chan string, 8)
	service := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer service.Close()
	service.EnableHTTP2 = false
	connected := make(chan struct{}, 8)
	service.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connected <- struct{}{}
		}
	}
	policy := strings.Replace(keyed, "    response: TooManyRequests\n", "    challenge: {afterFailures: 0, header: X-Challenge, url: URL, secretRef: {secretKeyRef: {name: turnstile, key: secret}}}\n"+
		"  passwordPolicy:\n    rules: {breachedPasswords: {url: URL, onFailure: Deny}}\n    routes: [{match: [{paths: [/register]}], password: {json: password}}]\n", 1)
	policy = strings.Replace(strings.ReplaceAll(policy, "URL", service.URL), "paths: [/login]}], require", "paths: [/login, /register]}], require", 1)
	args, dir := writeFiles(t, policy, `cases:
- name: a challenge
  request: {method: POST, path: /login, headers: {Content-Type: application/json, X-Challenge: solved}, body: '{"email": "ada@example.com"}'}
  expect: {status: 503}
- name: a password
  request: {method: POST, path: /register, headers: {Content-Type: application/json}, body: '{"password": "orbit-lantern-crayon-fjord"}'}
  expect: {status: 503}
`)
	if err := os.MkdirAll(dir+"/secrets/turnstile", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/secrets/turnstile/secret", "0x4AAAA")
	stdout, stderr, err := run(t, "", append([]string{"test", "--secrets-dir", dir + "/secrets"}, args...)...)
	if err != nil || !strings.Contains(stdout, "2 cases, 0 failed") {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
	mustRun(t, "", "explain", "-f", args[1], "--secrets-dir", dir+"/secrets", "--method", "POST", "--path", "/register", "--header", "Content-Type: application/json", "--body", `{"password": "orbit-lantern-crayon-fjord"}`)
	if len(asked)+len(connected) > 0 {
		t.Errorf("%d requests and %d connections", len(asked), len(connected))
	}
}
