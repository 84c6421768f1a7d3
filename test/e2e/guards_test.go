//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// guards are all rules that teams write around their login, in one policy.
const guards = ofCorp + `
  authorization:
    default: Authenticated
    rules:
    - {name: public, match: [{paths: [/public/**, /login, /password/reset, /register]}], require: Anonymous}
    - name: refunds
      match: [{methods: [POST], paths: [/orders/*/refund]}]
      scopes: {all: [orders:write]}
      claims: [{claim: realm_access.roles, any: [support, admin]}]
      expression: 'request.segments[1] != "0" && claims.tenant == request.headers["x-tenant"]'
    - {name: admin, match: [{paths: [/admin/**]}], require: Deny}
  rateLimits:
  - name: api
    match: [{paths: [/api/**]}]
    keyBy: [{type: Subject}]
    limit: 10/hour
    limitByClaim: {claim: plan, values: [{value: gold, limit: 40/hour}]}
  - {name: model, match: [{paths: [/v1/chat]}], keyBy: [{type: Subject}], limit: 20000/hour, cost: {responseJSON: usage.total_tokens}}
  - {name: streams, match: [{paths: [/sse]}], keyBy: [{type: Subject}], maxInFlight: 2}
  apiKeys:
    from: [{header: X-API-Key}]
    keysRef: {secretKeyRef: {name: shop-keys, key: keys.yaml}}
  loginProtection:
    routes:
    - {name: login, match: [{methods: [POST], paths: [/login]}], account: {json: email}, failure: {statuses: [401]}}
    - {name: reset, kind: PasswordReset, match: [{methods: [POST], paths: [/password/reset]}], account: {form: email}}
    perAccount: {failures: 5, within: 15m, lockFor: 1m, maxLock: 1h}
    perAddress: {failures: 50, within: 15m, lockFor: 5m}
    resets: {perAccount: 3/hour, perAddress: 10/hour}
    knownDevices: {failures: 5}
    response: Same
    onFailure: Deny
  passwordPolicy:
    rules: {minLength: 15, maxLength: 128, blocklist: Common, contextWords: [shop], minScore: 3, remember: 2}
    routes:
    - {match: [{methods: [POST], paths: [/register]}], password: {json: password}, confirmation: {json: password2}, account: {json: email}}
`

// guard is an app of two pods behind the policy guards.
type guard struct {
	*space
	id   *issuer
	urls [2]string
	key  string
	keys string // the file with its hash
}

// testGuards: each guard, through both pods, with their state in the same Redis.
func testGuards(t *testing.T) {
	g := &guard{space: newSpace(t), id: newIssuer(t)}
	key, file := g.newAPIKey(t, "ci", "svc:ci")
	g.key, g.keys = key, file
	g.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: g.name, Name: "shop-keys"}, StringData: map[string]string{"keys.yaml": file}})
	g.apply(guards, "JWKS", g.id.jwks())
	g.deploy("orders", 2)
	g.rolledOut("orders")
	g.enforced("orders", 2)
	for i, p := range g.pods("orders") {
		g.urls[i] = podURL(&p, appPort)
	}
	t.Run("authorization", g.testConditions)
	t.Run("plans", g.testPlans)
	t.Run("tokensOfAModel", g.testModel)
	t.Run("streams", g.testStreams)
	t.Run("apiKeys", g.testAPIKeys)
	t.Run("keyRotation", g.testKeyRotation)
	t.Run("stuffing", g.testStuffing)
	t.Run("resets", g.testResets)
	t.Run("passwords", g.testPasswords)
	t.Run("oldPasswords", g.testOldPasswords)
	t.Run("explain", g.testExplain)
}

func (g *guard) testConditions(t *testing.T) {
	support := jwt.MapClaims{"scope": "orders:read orders:write", "tenant": "acme", "realm_access": map[string]any{"roles": []string{"support"}}}
	ada := g.id.token("ada", support)
	refund := func(i int, path, token string, fields ...string) response {
		return do(t, http.MethodPost, g.urls[i]+path, "{}", append(fields, bearer(token))...)
	}
	refund(0, "/orders/1/refund", ada, "X-Tenant: acme").wantStatus(t, http.StatusOK)
	for name, got := range map[string]response{
		"another tenant":  refund(0, "/orders/1/refund", ada, "X-Tenant: other"),
		"no tenant":       refund(1, "/orders/1/refund", ada),
		"two tenants":     refund(0, "/orders/1/refund", ada, "X-Tenant: acme", "X-Tenant: other"),
		"order 0":         refund(1, "/orders/0/refund", ada, "X-Tenant: acme"),
		"no role":         refund(0, "/orders/1/refund", g.id.token("bob", jwt.MapClaims{"scope": "orders:write", "tenant": "acme"}), "X-Tenant: acme"),
		"a denied path":   get(t, g.urls[0]+"/admin/users", bearer(ada)),
		"an encoded path": get(t, g.urls[0]+"/%61dmin/users", bearer(ada)),
	} {
		if got.status != http.StatusForbidden || !problemIs(got, "access-denied") || strings.Contains(got.body+got.header.Get("WWW-Authenticate"), "tenant") {
			t.Errorf("%s: %d %v %s", name, got.status, got.header, got.body)
		}
	}
	support["scope"] = "orders:read"
	noScope := refund(0, "/orders/1/refund", g.id.token("ada", support), "X-Tenant: acme").wantStatus(t, http.StatusForbidden)
	if challenge := noScope.header.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="insufficient_scope"`) || !strings.Contains(challenge, `scope="orders:write"`) {
		t.Errorf("the challenge is %q", challenge)
	}
	get(t, g.urls[1]+"/public/x").wantStatus(t, http.StatusOK)
}

// each sends n requests to both pods in parallel and returns how often each status came.
func (g *guard) each(t *testing.T, n int, request func(i int) (response, error)) map[int]int {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for i := range n {
		all.Go(func() {
			got, err := request(i)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			statuses[got.status]++
		})
	}
	all.Wait()
	return statuses
}

func (g *guard) testPlans(t *testing.T) {
	for plan, want := range map[string]int{"gold": 40, "none": 10} {
		token := g.id.token("planner-"+plan, jwt.MapClaims{"plan": plan})
		got := g.each(t, 60, func(i int) (response, error) {
			return send(t, http.MethodGet, g.urls[i%2]+"/api/x", "", bearer(token))
		})
		if got[http.StatusOK] != want || got[http.StatusTooManyRequests] != 60-want {
			t.Errorf("plan %s: statuses %v; want %d requests that pass", plan, got, want)
		}
	}
}

// testModel: a quota of a model's tokens is charged after the responses, through both pods.
func (g *guard) testModel(t *testing.T) {
	token := g.id.token("writer")
	for i, tokens := range []int{9000, 9000, 9000} {
		do(t, http.MethodPost, g.urls[i%2]+"/v1/chat", fmt.Sprintf(`{"tokens":%d}`, tokens), bearer(token)).wantStatus(t, http.StatusOK)
	}
	got := do(t, http.MethodPost, g.urls[1]+"/v1/chat", `{"tokens":1}`, bearer(token)).wantStatus(t, http.StatusTooManyRequests)
	if got.header.Get("Retry-After") == "" {
		t.Errorf("the refusal is %v %s", got.header, got.body)
	}
	do(t, http.MethodPost, g.urls[0]+"/v1/chat", `{"tokens":1}`, bearer(g.id.token("reader"))).wantStatus(t, http.StatusOK)
}

// testStreams: a caller's streams through both pods are counted together, and one that ends makes room.
func (g *guard) testStreams(t *testing.T) {
	token := bearer(g.id.token("listener"))
	open := "/sse?events=2&ms=3600000"
	first := events(t, g.urls[0]+open, token)
	events(t, g.urls[1]+open, token)
	for _, url := range g.urls {
		got := get(t, url+open, token).wantStatus(t, http.StatusTooManyRequests)
		if !problemIs(got, "too-many-in-flight") || got.header.Get("Retry-After") == "" {
			t.Errorf("the third stream got %v %s", got.header, got.body)
		}
	}
	if err := first.Body.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "waiting for the place of a stream that ended", func() error {
		got, err := send(t, http.MethodGet, g.urls[1]+"/sse?events=1", "", token)
		if err == nil && got.status != http.StatusOK {
			err = errStatus(got)
		}
		return err
	})
}

// newAPIKey makes a key as a person does. It returns the key, and the file with its hash.
func (g *guard) newAPIKey(t *testing.T, id, subject string) (key, file string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys.yaml")
	out, err := exec.Command(postern(t), "apikey", "new", "--id", id, "--subject", subject, "--file", path).Output()
	if err != nil {
		t.Fatalf("postern apikey new: %v", err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "pstn_") {
			key = word
		}
	}
	if key == "" || strings.Contains(string(b), key) {
		t.Fatalf("no key in %q, or in the file %s", out, b)
	}
	return key, string(b)
}

func (g *guard) testAPIKeys(t *testing.T) {
	saw := get(t, g.urls[0]+"/x", "X-API-Key: "+g.key).wantStatus(t, http.StatusOK).seen(t)
	if _, ok := saw.Headers["X-Api-Key"]; ok {
		t.Error("the app saw the key")
	}
	damaged := g.key[:len(g.key)-1] + "0"
	if damaged == g.key {
		damaged = g.key[:len(g.key)-1] + "1"
	}
	get(t, g.urls[1]+"/x", "X-API-Key: "+damaged).wantStatus(t, http.StatusUnauthorized)
	get(t, g.urls[1]+"/x").wantStatus(t, http.StatusUnauthorized)
}

// testKeyRotation: a new key of the Secret is accepted soon after the pods' volumes are refreshed, and a revoked one is refused.
func (g *guard) testKeyRotation(t *testing.T) {
	in := g.in(t)
	key, file := g.newAPIKey(t, "ci-2", "svc:ci")
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: g.name, Name: "shop-keys"}, StringData: map[string]string{"keys.yaml": g.keys + file}}
	if err := g.c.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for _, p := range g.pods("orders") {
		in.refreshVolumes(&p)
	}
	for _, url := range g.urls {
		eventuallyStatus(t, http.StatusOK, url+"/x", "X-API-Key: "+key)
	}
	measured(t, "a new API key in a Secret, with the pods annotated: accepted by both pods after %.1f s", time.Since(began).Seconds())
	in.apply(`{apiVersion: postern.dev/v1alpha1, kind: TokenRevocation, metadata: {name: leaked}, spec: {issuer: "urn:postern:api-keys", tokenID: ci}}`)
	began = time.Now()
	for _, url := range g.urls {
		if got := eventuallyStatus(t, http.StatusUnauthorized, url+"/x", "X-API-Key: "+g.key); !problemIs(got, "token-revoked") {
			t.Errorf("the revoked key got %s", got.body)
		}
		get(t, url+"/x", "X-API-Key: "+key).wantStatus(t, http.StatusOK)
	}
	measured(t, "a TokenRevocation of an API key: refused by both pods after %.1f s", time.Since(began).Seconds())
	g.key, g.keys = key, g.keys+file
}

// testStuffing: guesses at one account from both pods are stopped after five, the response to a right guess looks like the others, and
// the owner still logs in with a device that was known before, and on a new one after an operator has unlocked the account.
func (g *guard) testStuffing(t *testing.T) {
	login := func(i int, email, password string, fields ...string) response {
		return do(t, http.MethodPost, g.urls[i%2]+"/login", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password), append(fields, "Content-Type: application/json")...)
	}
	device := login(0, "maria@example.com", "demo").wantStatus(t, http.StatusOK).header.Get("Set-Cookie")
	device, _, _ = strings.Cut(device, ";")
	if !strings.HasPrefix(device, "__Host-") {
		t.Fatalf("no device cookie, but %q", device)
	}
	login(1, "paul@example.com", "guess").wantStatus(t, http.StatusUnauthorized) // what the app says is repeated after two accounts got it
	var first response
	for i := range 12 {
		got := login(i, "Maria@Example.com", fmt.Sprintf("guess %d", i)).wantStatus(t, http.StatusUnauthorized)
		if i == 0 {
			first = got
		}
		if got.body != first.body {
			t.Errorf("guess %d: %s; want %s", i, got.body, first.body)
		}
	}
	right, unknown := login(0, "maria@example.com", "demo"), login(1, "nobody@example.com", "demo2")
	if right.status != http.StatusUnauthorized || right.body != unknown.body || fmt.Sprint(names(right.header)) != fmt.Sprint(names(unknown.header)) {
		t.Errorf("a right guess at a locked account got %d %v %s; an unknown account %v %s", right.status, right.header, right.body, unknown.header, unknown.body)
	}
	login(1, "maria@example.com", "demo", "Cookie: "+device).wantStatus(t, http.StatusOK)
	login(0, "paul@example.com", "demo").wantStatus(t, http.StatusOK)
	out, err := exec.Command(postern(t), "unlock", "--account", "maria@example.com", "--namespace", g.name).CombinedOutput()
	if err != nil || string(out) != "cleared, in all pods of the policy\n" {
		t.Fatalf("postern unlock: %v: %s", err, out)
	}
	for i := range g.urls {
		login(i, "maria@example.com", "demo").wantStatus(t, http.StatusOK)
	}
}

// names returns the names of the fields, without those that differ for each response.
func names(h http.Header) []string {
	var out []string
	for name := range h {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (g *guard) testResets(t *testing.T) {
	reset := func(i int, email string) response {
		return do(t, http.MethodPost, g.urls[i%2]+"/password/reset", "email="+email, "Content-Type: application/x-www-form-urlencoded")
	}
	reset(1, "ada@example.com").wantStatus(t, http.StatusAccepted) // a response is repeated after two accounts got it
	first := reset(0, "grace@example.com").wantStatus(t, http.StatusAccepted)
	for i := range 6 {
		if got := reset(i, "grace@example.com"); got.status != first.status || got.body != first.body {
			t.Errorf("reset %d: %d %s", i, got.status, got.body)
		}
	}
}

func (g *guard) testPasswords(t *testing.T) {
	register := func(password, repeated string) response {
		body := fmt.Sprintf(`{"email":"grace@example.com","password":%q,"password2":%q}`, password, repeated)
		return do(t, http.MethodPost, g.urls[0]+"/register", body, "Content-Type: application/json")
	}
	register("orbit-lantern-crayon-fjord", "orbit-lantern-crayon-fjord").wantStatus(t, http.StatusCreated)
	got := register("hunter2", "hunter3").wantStatus(t, http.StatusUnprocessableEntity)
	for _, code := range []string{"too-short", "confirmation-mismatch"} {
		if !strings.Contains(got.body, code) {
			t.Errorf("%s is not in %s", code, got.body)
		}
	}
	if strings.Contains(got.body, "hunter2") {
		t.Errorf("the response has the password: %s", got.body)
	}
}

// testOldPasswords: a person's old password is refused through the other pod. A caller who is not that person learns nothing of it.
func (g *guard) testOldPasswords(t *testing.T) {
	change := func(i int, password string, fields ...string) response {
		body := fmt.Sprintf(`{"email":"rosa@example.com","password":%q,"password2":%q}`, password, password)
		return do(t, http.MethodPost, g.urls[i]+"/register", body, append(fields, "Content-Type: application/json")...)
	}
	rosa := bearer(g.id.token("rosa@example.com"))
	old, next := "copper-lantern-river-moss", "silent-orchard-velvet-tram"
	change(0, old, rosa).wantStatus(t, http.StatusCreated)
	change(1, next, rosa).wantStatus(t, http.StatusCreated)
	if got := change(1, old, rosa).wantStatus(t, http.StatusUnprocessableEntity); !strings.Contains(got.body, `"reused"`) {
		t.Errorf("an old password got %s", got.body)
	}
	change(0, old).wantStatus(t, http.StatusCreated)
	change(0, old, bearer(g.id.token("mallory@example.com"))).wantStatus(t, http.StatusCreated)
}
