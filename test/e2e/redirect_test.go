//go:build e2e

package e2e

import (
	"compress/gzip"
	"encoding/base64"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// everything has every section of a policy.
const everything = guarded + `
  authorization:
    default: Authenticated
    rules:
    - {name: public, match: [{paths: [/public/**, /healthz]}], require: Anonymous}
  rateLimits:
  - name: login
    match: [{methods: [POST], paths: [/login]}]
    limit: 5/minute
    burst: 5
    keyBy: [{type: ClientAddress}]
  headers: {preset: Strict, set: [{name: X-Team, value: orders}], remove: [Server, X-Powered-By]}
  cors: {allowOrigins: ["https://app.example.com"], allowMethods: [GET, POST], allowHeaders: [Authorization], allowCredentials: true, maxAge: 1h}
  compression: {minSize: 1KiB, types: [application/json]}
`

// testRedirect: an unchanged Deployment is guarded as soon as a policy selects its pods.
func testRedirect(t *testing.T) {
	s, id := newSpace(t), newIssuer(t)
	s.apply(everything, "JWKS", id.jwks())
	s.hasCondition("orders", v1alpha1.ConditionEnforced, metav1.ConditionUnknown, v1alpha1.ReasonNoPods)
	s.deploy("orders", 1)
	s.rolledOut("orders")
	s.enforced("orders", 1)
	s.hasCondition("orders", v1alpha1.ConditionSharedState, metav1.ConditionTrue, v1alpha1.ReasonRedis)
	url, pod := s.serviceURL("orders"), s.pods("orders")[0]
	eventuallyStatus(t, http.StatusOK, url+"/healthz")

	t.Run("tokens", func(t *testing.T) { checkTokens(t, id, url, podURL(&pod, appPort)) })
	t.Run("identity", func(t *testing.T) { checkIdentity(t, id, url) })
	t.Run("login", func(t *testing.T) { checkLogin(t, id, url) })
	t.Run("headers", func(t *testing.T) { checkHeaders(t, id, url) })
	t.Run("cors", func(t *testing.T) { checkCORS(t, id, url) })
	t.Run("compression", func(t *testing.T) { checkCompression(t, id, url) })
	t.Run("app unchanged", func(t *testing.T) { checkUnchanged(t, &pod) })
}

func checkTokens(t *testing.T, id *issuer, urls ...string) {
	stranger := newIssuer(t)
	stranger.kid = id.kid
	der, _ := id.key.PublicKey.Bytes()
	good := id.token("ann")
	now := time.Now()
	for name, test := range map[string]struct {
		fields     []string
		wantStatus int
		wantError  string // in WWW-Authenticate
	}{
		"none":                  {wantStatus: 401},
		"good":                  {fields: []string{bearer(good)}, wantStatus: 200},
		"forged":                {fields: []string{bearer(stranger.token("ann"))}, wantStatus: 401, wantError: "invalid_token"},
		"expired":               {fields: []string{bearer(id.token("ann", jwt.MapClaims{"iat": now.Add(-30 * time.Minute).Unix(), "exp": now.Add(-5 * time.Minute).Unix()}))}, wantStatus: 401, wantError: "invalid_token"},
		"not yet valid":         {fields: []string{bearer(id.token("ann", jwt.MapClaims{"nbf": now.Add(10 * time.Minute).Unix()}))}, wantStatus: 401, wantError: "invalid_token"},
		"lives too long":        {fields: []string{bearer(id.token("ann", jwt.MapClaims{"exp": now.Add(2 * time.Hour).Unix()}))}, wantStatus: 401, wantError: "invalid_token"},
		"without exp":           {fields: []string{bearer(id.token("ann", jwt.MapClaims{"exp": nil}))}, wantStatus: 401, wantError: "invalid_token"},
		"another audience":      {fields: []string{bearer(id.token("ann", jwt.MapClaims{"aud": "billing"}))}, wantStatus: 401, wantError: "invalid_token"},
		"another issuer":        {fields: []string{bearer(id.token("ann", jwt.MapClaims{"iss": "https://evil.example.com"}))}, wantStatus: 401, wantError: "invalid_token"},
		"alg none":              {fields: []string{bearer(id.sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims("ann")))}, wantStatus: 401, wantError: "invalid_token"},
		"public key as secret":  {fields: []string{bearer(id.sign(jwt.SigningMethodHS256, der, claims("ann")))}, wantStatus: 401, wantError: "invalid_token"},
		"changed after signing": {fields: []string{bearer(tampered(good))}, wantStatus: 401, wantError: "invalid_token"},
		"nonsense":              {fields: []string{bearer("nonsense")}, wantStatus: 401, wantError: "invalid_token"},
		"two tokens":            {fields: []string{bearer(good), bearer(good)}, wantStatus: 400, wantError: "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, url := range urls {
				got := get(t, url+"/orders", test.fields...).wantStatus(t, test.wantStatus)
				challenge := got.header.Get("WWW-Authenticate")
				if (challenge != "") != (test.wantStatus != 200) || !strings.Contains(challenge, test.wantError) || strings.Contains(challenge, "error=") != (test.wantError != "") {
					t.Errorf("WWW-Authenticate is %q, want error %q", challenge, test.wantError)
				}
				if test.wantStatus != 200 && !strings.HasPrefix(got.header.Get("Content-Type"), "application/problem+json") {
					t.Errorf("Content-Type is %q", got.header.Get("Content-Type"))
				}
			}
		})
	}
}

// tampered replaces the subject of a token.
func tampered(token string) string {
	parts := strings.Split(token, ".")
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), `"ann"`, `"bob"`, 1)))
	return strings.Join(parts, ".")
}

// checkIdentity: the app receives the identity, and clients cannot forge it, neither on an anonymous route nor with Connection.
func checkIdentity(t *testing.T, id *issuer, url string) {
	forged := []string{"X-Auth-Subject: root", "x-auth-roles: admin", "X-Auth-Roles: admin2"}
	for name, test := range map[string]struct {
		path                   string
		fields                 []string
		wantSubject, wantRoles []string
	}{
		"token":            {path: "/whoami", fields: []string{bearer(id.token("ann"))}, wantSubject: []string{"ann"}, wantRoles: []string{"buyer,clerk"}},
		"forged":           {path: "/whoami", fields: append(forged, bearer(id.token("ann"))), wantSubject: []string{"ann"}, wantRoles: []string{"buyer,clerk"}},
		"by Connection":    {path: "/whoami", fields: append(forged, bearer(id.token("ann")), "Connection: X-Auth-Subject, X-Auth-Roles"), wantSubject: []string{"ann"}, wantRoles: []string{"buyer,clerk"}},
		"anonymous route":  {path: "/public/x", fields: forged},
		"anonymous, named": {path: "/public/x", fields: []string{bearer(id.token("ann"))}, wantSubject: []string{"ann"}, wantRoles: []string{"buyer,clerk"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := get(t, url+test.path, test.fields...).wantStatus(t, 200).seen(t)
			if s, r := got.Headers["X-Auth-Subject"], got.Headers["X-Auth-Roles"]; !slices.Equal(s, test.wantSubject) || !slices.Equal(r, test.wantRoles) {
				t.Errorf("the app saw subject %q and roles %q, want %q and %q", s, r, test.wantSubject, test.wantRoles)
			}
		})
	}
}

// checkLogin: the sixth login in a minute is refused.
func checkLogin(t *testing.T, id *issuer, url string) {
	token := bearer(id.token("ann"))
	for n := 1; n <= 5; n++ {
		got := do(t, http.MethodPost, url+"/login", `{"user":"ann","password":"demo"}`, token).wantStatus(t, 200)
		if got.header.Get("RateLimit") == "" || !strings.HasPrefix(got.header.Get("RateLimit-Policy"), `"login";q=5`) {
			t.Errorf("login %d: RateLimit is %q, RateLimit-Policy %q", n, got.header.Get("RateLimit"), got.header.Get("RateLimit-Policy"))
		}
	}
	got := do(t, http.MethodPost, url+"/login", "", token).wantStatus(t, 429)
	if got.header.Get("Retry-After") == "" || !strings.HasPrefix(got.header.Get("RateLimit"), `"login";r=0`) {
		t.Errorf("Retry-After is %q, RateLimit %q", got.header.Get("Retry-After"), got.header.Get("RateLimit"))
	}
	get(t, url+"/orders", token).wantStatus(t, 200)
}

func checkHeaders(t *testing.T, id *issuer, url string) {
	responses := map[string]response{
		"response of the app": get(t, url+"/headers-insecure", bearer(id.token("ann"))).wantStatus(t, 200),
		"refusal":             get(t, url+"/headers-insecure").wantStatus(t, 401),
	}
	for name, got := range responses {
		for field, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "deny",
			"Content-Security-Policy": "default-src 'self'", "Referrer-Policy": "no-referrer", "X-Xss-Protection": "0", "X-Team": "orders",
		} {
			if !strings.Contains(strings.ToLower(got.header.Get(field)), want) {
				t.Errorf("%s: %s is %q, want %q", name, field, got.header.Get(field), want)
			}
		}
		for _, field := range []string{"Server", "X-Powered-By"} {
			if v := got.header.Get(field); v != "" {
				t.Errorf("%s: %s is %q", name, field, v)
			}
		}
	}
}

func checkCORS(t *testing.T, id *issuer, url string) {
	const origin = "https://app.example.com"
	preflight := do(t, http.MethodOptions, url+"/orders", "", "Origin: "+origin, "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization")
	if preflight.status/100 != 2 || preflight.header.Get("Access-Control-Allow-Methods") == "" {
		t.Errorf("the preflight got %d %v", preflight.status, preflight.header)
	}
	for name, test := range map[string]struct {
		got         response
		wantAllowed string
	}{
		"preflight":         {got: preflight, wantAllowed: origin},
		"no token":          {got: get(t, url+"/orders", "Origin: "+origin).wantStatus(t, 401), wantAllowed: origin},
		"the app's own *":   {got: get(t, url+"/headers-insecure", "Origin: "+origin, bearer(id.token("ann"))).wantStatus(t, 200), wantAllowed: origin},
		"an unknown origin": {got: get(t, url+"/headers-insecure", "Origin: https://evil.example.com", bearer(id.token("ann")))},
	} {
		if allowed := test.got.header.Values("Access-Control-Allow-Origin"); strings.Join(allowed, ";") != test.wantAllowed {
			t.Errorf("%s: Access-Control-Allow-Origin is %q, want %q", name, allowed, test.wantAllowed)
		}
		if !strings.Contains(strings.Join(test.got.header.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: Vary is %q", name, test.got.header.Values("Vary"))
		}
	}
}

func checkCompression(t *testing.T, id *issuer, url string) {
	got := get(t, url+"/orders", bearer(id.token("ann")), "Accept-Encoding: gzip").wantStatus(t, 200)
	if got.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("Content-Encoding is %q", got.header.Get("Content-Encoding"))
	}
	unzip, err := gzip.NewReader(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(unzip)
	if want := get(t, url+"/orders", bearer(id.token("ann"))).body; err != nil || string(plain) != want || len(got.body) >= len(want) {
		t.Errorf("%d bytes decompressed to %d, want %d: %v", len(got.body), len(plain), len(want), err)
	}
}

// checkUnchanged: the app's container is unchanged, except for the probe's address.
func checkUnchanged(t *testing.T, pod *corev1.Pod) {
	want, got := podSpec().Containers[0], pod.Spec.Containers[0]
	if len(pod.Spec.Containers) != 1 || got.Image != want.Image || len(got.Env) != 0 || got.SecurityContext != nil || len(got.Args) != 0 {
		t.Errorf("containers are %+v", pod.Spec.Containers)
	}
}
