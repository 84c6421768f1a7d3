package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuing is a policy that issues tokens, whose other keys are at a URI that nothing serves.
const issuing = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: shop, namespace: shop}
spec:
  selector: {}
  jwt:
    providers:
    - {name: corp, issuer: https://id.example.com, audiences: [shop], algorithms: [ES256], maxLifetime: 1h, jwks: {uri: "https://127.0.0.1:1/jwks"}}
  authorization:
    default: Authenticated
    rules:
    - {name: public, match: [{paths: [/public/**, /login]}], require: Anonymous}
    - {name: admin, match: [{paths: [/admin/**]}], claims: [{claim: role, any: [admin]}], providers: [postern]}
  tokens:
    issuer: https://shop.example.com
    audiences: [shop]
    accessLifetime: 5m
    signingKey: {secretKeyRef: {name: shop-signing, key: k.pem}}
    login: [{methods: [POST], paths: [/login]}]
    claims: [role]
    claimsToHeaders: [{claim: role, header: X-Role}]
  sessions: {idleTimeout: 30m, absoluteTimeout: 12h, maxPerSubject: 2}
`

const ownCases = `at: 2026-01-31T12:00:00Z
cases:
- name: a claim of the login
  request: {path: /admin/x, token: {provider: postern, claims: {sub: ada, role: admin}}}
  expect: {status: 200, rule: admin, appHeaders: {X-Role: admin}}
- name: another role
  request: {path: /admin/x, token: {provider: postern, claims: {sub: ada, role: clerk}}}
  expect: {status: 403, rule: admin}
- name: a token of another issuer, without a network
  request: {path: /admin/x, token: {provider: corp, claims: {sub: ada, role: admin}}}
  expect: {status: 403, rule: admin}
- name: expired
  request: {path: /x, token: {provider: postern, claims: {sub: ada, exp: 1769860000}}}
  expect: {status: 401, code: invalid-token}
- name: of no session
  request: {path: /x, token: {provider: postern, claims: {sub: ada, sid: BBBBBBBBBBBBBBBBBBBBBB}}}
  expect: {status: 401}
- name: logout ends one session
  steps:
  - {request: {path: /x, token: {provider: postern, claims: {sub: ada}}}, expect: {status: 200}}
  - {request: {method: POST, path: /auth/logout, token: {provider: postern, claims: {sub: ada}}}, expect: {status: 204}}
  - {request: {path: /x, token: {provider: postern, claims: {sub: ada}}}, expect: {status: 401, code: token-revoked}}
  - {request: {path: /x, token: {provider: postern, session: laptop, claims: {sub: ada}}}, expect: {status: 200}}
- name: a session that is used stays, and an idle one ends
  steps:
  - {request: {path: /x, token: {provider: postern, claims: {sub: ada}}}, expect: {status: 200}}
  - {after: 29m, request: {path: /x, token: {provider: postern, claims: {sub: ada}}}, expect: {status: 200}}
  - {after: 29m, request: {path: /x, token: {provider: postern, claims: {sub: ada}}}, expect: {status: 200}}
  - {after: 31m, request: {path: /x, token: {provider: postern, claims: {sub: ada}}}, expect: {status: 401}}
- name: a third session ends the first
  steps:
  - {request: {path: /x, token: {provider: postern, session: a, claims: {sub: ada}}}, expect: {status: 200}}
  - {after: 1s, request: {path: /x, token: {provider: postern, session: b, claims: {sub: ada}}}, expect: {status: 200}}
  - {after: 1s, request: {path: /x, token: {provider: postern, session: c, claims: {sub: ada}}}, expect: {status: 200}}
  - {request: {path: /x, token: {provider: postern, session: a, claims: {sub: ada}}}, expect: {status: 401}}
- name: repetitions share a session
  request: {path: /x, token: {provider: postern, claims: {sub: ada}}}
  repeat: 5
  expect: {status: 200}
`

// TestOwnTokens: cases use the tokens that the policy itself issues, with their sessions, by header or cookie and with each algorithm.
func TestOwnTokens(t *testing.T) {
	for name, tt := range map[string]struct{ replace, with string }{
		"as written": {"", ""},
		"by cookie":  {"    claims: [role]\n", "    claims: [role]\n    delivery: Cookie\n"},
		"HS256":      {"    claims: [role]\n", "    claims: [role]\n    algorithm: HS256\n"},
		"EdDSA":      {"    claims: [role]\n", "    claims: [role]\n    algorithm: EdDSA\n"},
	} {
		t.Run(name, func(t *testing.T) {
			policy, cases := strings.Replace(issuing, tt.replace, tt.with, 1), ownCases
			if name == "by cookie" { // a browser says where the request comes from, and a logout also ends the cookies
				cases = strings.ReplaceAll(cases, "path: /auth/logout,", "path: /auth/logout, headers: {Sec-Fetch-Site: same-origin},")
			}
			args, _ := writeFiles(t, policy, cases)
			if stdout, stderr, err := run(t, "", append([]string{"test"}, args...)...); err != nil || !strings.Contains(stdout, "9 cases, 0 failed") {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
		})
	}
}

// TestTokensThatCasesCannotHave: a token that cannot be made or verified is an error, and not a refusal that a case may expect.
func TestTokensThatCasesCannotHave(t *testing.T) {
	real := func(issuer string) string {
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"iss": issuer}).SignedString([]byte("secret"))
		if err != nil {
			t.Fatal(err)
		}
		return token[strings.Index(token, ".")+1:]
	}
	const es256 = "eyJhbGciOiJFUzI1NiJ9."
	for name, tt := range map[string]struct{ token, want string }{
		"no subject":         {"{provider: postern, claims: {role: admin}}", "write claims.sub"},
		"a claim not copied": {"{provider: postern, claims: {sub: ada, plan: gold}}", `no claim "plan"`},
		"session of another": {"{provider: corp, session: a, claims: {sub: ada}}", "session is for the policy's own tokens"},
		"jwt of the policy":  {"{jwt: " + es256 + real("https://shop.example.com") + "}", "the policy itself issues the token in jwt"},
		"jwt, keys at a URI": {"{jwt: " + es256 + real("https://id.example.com") + "}", `the keys of the provider "corp" are not in the policy`},
		"unknown provider":   {"{provider: other, claims: {sub: ada}}", "it has corp, postern"},
		"jwt and session":    {"{jwt: x, session: a}", "jwt beside"},
	} {
		t.Run(name, func(t *testing.T) {
			args, _ := writeFiles(t, issuing, "cases:\n- {name: a, request: {path: /, token: "+tt.token+"}, expect: {status: 401}}\n")
			stdout, stderr, err := run(t, "", append([]string{"test"}, args...)...)
			if all := stdout + stderr + errorText(err); err == nil || !strings.Contains(all, tt.want) || strings.Contains(all, "eyJ") {
				t.Errorf("%v; want %q\n%s", err, tt.want, all)
			}
		})
	}
	args, _ := writeFiles(t, issuing, "cases:\n- {name: a, request: {path: /, token: {jwt: eyJhbGciOiJub25lIn0."+strings.Split(real("https://id.example.com"), ".")[0]+".}}, expect: {status: 401, code: invalid-token}}\n")
	if stdout, _, err := run(t, "", append([]string{"test"}, args...)...); err != nil {
		t.Errorf("an unsigned token, which no key verifies: %v\n%s", err, stdout)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestExplainOwnToken: a token of a pod is verified with the pod's public keys, and its session is taken to be active.
func TestExplainOwnToken(t *testing.T) {
	key, other := mustRun(t, "", "token", "new-key"), mustRun(t, "", "token", "new-key")
	args, dir := writeFiles(t, issuing, mustRun(t, key, "token", "jwks", "--key", "-"), "{}")
	sign := func(key, typ string, content jwt.MapClaims) string {
		var k jwk
		if err := json.Unmarshal([]byte(key), &k); err != nil {
			t.Fatal(err)
		}
		d, err := base64.RawURLEncoding.DecodeString(k.D)
		if err != nil {
			t.Fatal(err)
		}
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
		if err != nil {
			t.Fatal(err)
		}
		token := jwt.NewWithClaims(jwt.SigningMethodES256, content)
		token.Header["kid"], token.Header["typ"] = k.KeyID, typ
		signed, err := token.SignedString(private)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	claims := jwt.MapClaims{
		"iss": "https://shop.example.com", "aud": []string{"shop"}, "sub": "ada", "sid": "AAAAAAAAAAAAAAAAAAAAAA", "client_id": "shop", "role": "admin",
		"jti": "a", "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	}
	revoked := "---\napiVersion: postern.dev/v1alpha1\nkind: TokenRevocation\nmetadata: {name: gone, namespace: shop}\nspec: {issuer: https://shop.example.com, sessionID: AAAAAAAAAAAAAAAAAAAAAA}\n"
	write(t, dir+"/revoked.yaml", issuing+revoked)
	for name, tt := range map[string]struct {
		policy, token, want string
	}{
		"valid":           {args[1], sign(key, "at+jwt", claims), `passed: decided by the stage authorization, rule "admin"`},
		"another key":     {args[1], sign(other, "at+jwt", claims), `rule "admin": 401 invalid-token`},
		"another type":    {args[1], sign(key, "JWT", claims), `rule "admin": 401 invalid-token`},
		"revoked session": {dir + "/revoked.yaml", sign(key, "at+jwt", claims), "401 token-revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout := mustRun(t, tt.token, "explain", "-f", tt.policy, "--path", "/admin/x", "--token", "-", "--jwks", dir+"/1.yaml")
			if !strings.Contains(stdout, tt.want) || strings.Contains(stdout, "eyJ") {
				t.Errorf("%q is not in:\n%s", tt.want, stdout)
			}
		})
	}
	_, _, err := run(t, sign(key, "at+jwt", claims), "explain", "-f", args[1], "--path", "/admin/x", "--token", "-")
	if err == nil || !strings.Contains(err.Error(), "add --jwks FILE") {
		t.Errorf("without keys: %v", err)
	}
	if stdout := mustRun(t, "", "explain", "-f", args[1], "--path", "/admin/x", "--provider", "postern", "--claims", `{"sub": "ada", "role": "admin"}`); !strings.Contains(stdout, `rule "admin"`) || !strings.Contains(stdout, "HTTP/1.1 200") {
		t.Errorf("made for the run:\n%s", stdout)
	}
}
