package main

import (
	"strings"
	"testing"
)

const sampleClaims = `{"sub": "ada", "tenant": "acme", "scope": "orders:read web"}`

// TestExplain: each stage is listed, with what it did, and no value of a credential is printed.
func TestExplain(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"public": {[]string{"--path", "/public/x"}, []string{
			`rule "public": Anonymous`, `passed: decided by the stage authorization, rule "public"`, "HTTP/1.1 200 OK", "X-Team: orders",
			"renewal              skipped: the policy does not use it", "app                  passed",
		}},
		"no token": {[]string{"--path", "/orders"}, []string{
			"authorization        refused: 401 no-credentials", "limits               not reached", "app                  not reached",
			`refused: decided by the stage authorization, rule "default": 401 no-credentials`, "Www-Authenticate: Bearer",
		}},
		"claims": {[]string{"--path", "/orders?secret=hush", "--claims", sampleClaims}, []string{
			`a token of the provider "corp" is valid`, "added X-Auth-Subject", "default: Authenticated", "passed: decided by",
		}},
		"refused claims": {[]string{"--path", "/orders", "--claims", `{"sub": "eve"}`}, []string{"no identity: invalid-token", "401 invalid-token"}},
		"limits":         {[]string{"--path", "/login", "--method", "POST", "--claims", sampleClaims}, []string{`rule "login": ClientAddress`}},
		"preflight": {[]string{"--path", "/orders", "--method", "OPTIONS", "--header", "Origin: https://app.example.com", "--header", "Access-Control-Request-Method: GET"}, []string{
			"cors-preflight       responded", "answered by the sidecar: decided by the stage cors-preflight",
		}},
		"stripped": {[]string{"--path", "/public/x", "--header", "X-Auth-Subject: hush"}, []string{"removed X-Auth-Subject"}},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, err := run(t, "", append([]string{"explain", "-f", samples + "securitypolicy.yaml"}, tt.args...)...)
			if err != nil {
				t.Fatal(err, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("%q is not in:\n%s", want, stdout)
				}
			}
			if strings.Contains(stdout, "eyJ") || strings.Contains(stdout, "hush") {
				t.Errorf("a value of the request is in:\n%s", stdout)
			}
		})
	}
}

// TestExplainToken: a token is verified with the keys of --jwks, and one of another key is refused.
func TestExplainToken(t *testing.T) {
	key := mustRun(t, "", "token", "new-key")
	other := mustRun(t, "", "token", "new-key")
	jwks := mustRun(t, key, "token", "jwks", "--key", "-")
	args, dir := writeFiles(t, jwks)
	_ = args
	sign := func(key string) string {
		return mustRun(t, key, "token", "sign", "--key", "-", "--issuer", "https://id.example.com", "--audience", "orders", "--subject", "ada",
			"--claim", "tenant=acme", "--claim", `scope="orders:read web"`)
	}
	for name, tt := range map[string]struct{ token, want string }{
		"valid":       {sign(key), `a token of the provider "corp" is valid`},
		"another key": {sign(other), "401 invalid-token"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout := mustRun(t, tt.token, "explain", "-f", samples+"securitypolicy.yaml", "--path", "/orders", "--token", "-", "--jwks", dir+"/0.yaml")
			if !strings.Contains(stdout, tt.want) || strings.Contains(stdout, strings.Split(tt.token, ".")[1]) {
				t.Errorf("%q is not in, or the token is in:\n%s", tt.want, stdout)
			}
		})
	}
}

func mustRun(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	stdout, stderr, err := run(t, stdin, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, stderr)
	}
	return stdout
}

func TestExplainErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no policy":          {nil, "name the policy"},
		"both":               {[]string{"-f", "x", "pod/y"}, "unexpected argument"},
		"token as argument":  {[]string{"-f", samples + "securitypolicy.yaml", "--token", "eyJx"}, "--token must be -"},
		"claims":             {[]string{"-f", samples + "securitypolicy.yaml", "--claims", "x"}, "is not a JSON object"},
		"header":             {[]string{"-f", samples + "securitypolicy.yaml", "--header", "hush"}, "not of the form"},
		"address":            {[]string{"-f", samples + "securitypolicy.yaml", "--address", "x"}, "is not an address"},
		"token beside claim": {[]string{"-f", samples + "securitypolicy.yaml", "--claims", "{}", "--token", "-"}, "none of the others"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := run(t, "", append([]string{"explain"}, tt.args...)...)
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}
