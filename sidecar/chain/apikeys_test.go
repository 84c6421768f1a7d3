package chain

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	keys "github.com/posterndev/postern/sidecar/keys/apikey"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// keyPolicy returns a document that accepts only API keys.
func keyPolicy(change func(*compiled.Policy)) *compiled.Policy {
	p := &compiled.Policy{
		SchemaVersion: 1, Namespace: "shop", Name: "orders", Revision: 1, Mode: compiled.Enforce, UndeclaredPorts: compiled.Deny,
		Authorization: compiled.Authorization{Default: compiled.RequireAuthenticated, Mode: compiled.Enforce, Rules: []compiled.AuthorizationRule{
			{Name: "public", Match: []compiled.Match{{Paths: []string{"/public/**"}}}, Require: compiled.RequireAnonymous, Mode: compiled.Enforce},
		}},
		APIKeys: &compiled.APIKeys{
			From: []compiled.APIKeyLocation{{Header: "X-API-Key"}}, Keys: &compiled.SecretRef{Name: "shop-keys", Key: "keys.yaml"}, Mode: compiled.Enforce,
			ClaimsToHeaders: []compiled.ClaimToHeader{{Claim: "sub", Header: "X-Auth-Subject"}, {Claim: "scope", Header: "X-Auth-Scope"}, {Claim: "tenant", Header: "X-Auth-Tenant"}},
		},
		Sidecar: compiled.SidecarOptions{AccessLog: "All", LogLevel: "info"},
	}
	if change != nil {
		change(p)
	}
	if err := p.Validate(); err != nil {
		panic(err)
	}
	return p
}

// mint returns a new key and its entry in the file.
func mint(t testing.TB, id, more string) (key, entry string) {
	t.Helper()
	key, err := keys.New()
	if err != nil {
		t.Fatal(err)
	}
	return key, fmt.Sprintf("- {id: %s, subject: 'svc:%s', hash: '%s'%s}\n", id, id, keys.Hash(key), more)
}

func basic(user, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}}
}

// appHeader returns a header as the app saw it.
func (g got) appHeader(name string) string {
	headers, _ := g.json["header"].(map[string]any)
	values, _ := headers[name].([]any)
	if len(values) == 0 {
		return ""
	}
	s, _ := values[0].(string)
	return s
}

// TestAPIKeys: what each request with a key gets.
func TestAPIKeys(t *testing.T) {
	w := newWorld(t)
	key, entry := mint(t, "ci", ", scopes: [orders:read, orders:write], claims: {tenant: acme}")
	expired, old := mint(t, "old", ", expires: 2020-01-01T00:00:00Z")
	unknown, _ := mint(t, "unknown", "")
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry+old))
	s := w.sidecar(keyPolicy(func(p *compiled.Policy) {
		p.APIKeys.From = []compiled.APIKeyLocation{{Header: "X-API-Key"}, {Header: "Authorization", Prefix: "ApiKey "}, {Query: "api_key"}}
	}))
	b := w.sidecar(keyPolicy(func(p *compiled.Policy) { p.APIKeys.From = []compiled.APIKeyLocation{{BasicAuth: true}} }))
	wrongSum := key[:len(key)-1] + map[bool]string{true: "b", false: "a"}[key[len(key)-1] == 'a']
	h := func(name string, values ...string) http.Header { return http.Header{name: values} }
	tests := map[string]struct {
		to       *sidecar
		path     string
		header   http.Header
		want     int
		wantCode string
	}{
		"no key":                         {want: 401, wantCode: "no-credentials"},
		"valid":                          {header: h("X-Api-Key", key), want: 200},
		"with a prefix":                  {header: h("Authorization", "ApiKey "+key), want: 200},
		"prefix in another case":         {header: h("Authorization", "apikey  "+key), want: 200},
		"in the query":                   {path: "/orders?api_key=" + key + "&a=1", want: 200},
		"escaped name in the query":      {path: "/orders?api%5Fkey=" + key, want: 200},
		"Basic":                          {to: b, header: basic("anyone", key), want: 200},
		"white space around":             {header: h("X-Api-Key", "  "+key+"\t"), want: 200},
		"white space inside":             {header: h("X-Api-Key", key[:10]+" "+key[10:]), want: 401, wantCode: "invalid-api-key"},
		"empty":                          {header: h("X-Api-Key", ""), want: 401, wantCode: "no-credentials"},
		"unknown":                        {header: h("X-Api-Key", unknown), want: 401, wantCode: "invalid-api-key"},
		"expired":                        {header: h("X-Api-Key", expired), want: 401, wantCode: "invalid-api-key"},
		"another case":                   {header: h("X-Api-Key", strings.ToUpper(key)), want: 401, wantCode: "invalid-api-key"},
		"wrong checksum":                 {header: h("X-Api-Key", wrongSum), want: 401, wantCode: "invalid-api-key"},
		"the hash in place of the key":   {header: h("X-Api-Key", keys.Hash(key)), want: 401, wantCode: "invalid-api-key"},
		"the id in place of the key":     {header: h("X-Api-Key", "ci"), want: 401, wantCode: "invalid-api-key"},
		"two lines":                      {header: h("X-Api-Key", key, key), want: 400, wantCode: "several-credentials"},
		"two keys in a line":             {header: h("X-Api-Key", key+", "+key), want: 401, wantCode: "invalid-api-key"},
		"header and query":               {path: "/orders?api_key=" + key, header: h("X-Api-Key", key), want: 400, wantCode: "several-credentials"},
		"twice in the query":             {path: "/orders?api_key=" + key + "&api_key=x", want: 400, wantCode: "several-credentials"},
		"twice, by a semicolon":          {path: "/orders?api_key=" + key + ";api_key=x", want: 400, wantCode: "several-credentials"},
		"Basic with the key as the user": {to: b, header: basic(key, "x"), want: 401, wantCode: "invalid-api-key"},
		"Basic without a colon":          {to: b, header: h("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(key))), want: 401, wantCode: "invalid-api-key"},
		"Basic that is not base64":       {to: b, header: h("Authorization", "Basic !!!"), want: 401, wantCode: "invalid-api-key"},
		"Basic that is empty":            {to: b, header: h("Authorization", "Basic "), want: 401, wantCode: "no-credentials"},
		"Basic that is huge":             {to: b, header: basic("x", strings.Repeat("x", 5000)), want: 401, wantCode: "invalid-api-key"},
		"Basic that is not UTF-8":        {to: b, header: basic("\xff", key+"\xff"), want: 401, wantCode: "invalid-api-key"},
		"invalid on a public route":      {path: "/public/a", header: h("X-Api-Key", "x"), want: 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			to, path := s, "/orders"
			if tt.to != nil {
				to = tt.to
			}
			if tt.path != "" {
				path = tt.path
			}
			g := to.in(t).send(sent{method: "GET", path: path, header: tt.header})
			if g.status != tt.want || g.code() != tt.wantCode {
				t.Fatalf("%d %s; want %d %s: %s", g.status, g.code(), tt.want, tt.wantCode, g.text)
			}
			if g.status == 200 && path != "/public/a" {
				if g.appHeader("X-Auth-Subject") != "svc:ci" || g.appHeader("X-Auth-Scope") != "orders:read orders:write" || g.appHeader("X-Auth-Tenant") != "acme" {
					t.Errorf("the app saw %s", g.text)
				}
			}
			if strings.Contains(g.text, key) || strings.Contains(g.text, unknown) {
				t.Errorf("the key is in the response or reached the app: %s", g.text)
			}
			if want := map[*sidecar]string{s: `ApiKey realm="orders"`, b: `Basic realm="orders", charset="UTF-8"`}[to]; g.status == 401 && !slices.Contains(g.header["Www-Authenticate"], want) {
				t.Errorf("challenges %q; want %s among them", g.header["Www-Authenticate"], want)
			}
		})
	}
}

// TestAPIKeyForward: the app sees a valid key only with forwardKey, and an invalid one never; forged identity headers never.
func TestAPIKeyForward(t *testing.T) {
	w := newWorld(t)
	key, entry := mint(t, "ci", "")
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry))
	s := w.sidecar(keyPolicy(func(p *compiled.Policy) { p.APIKeys.ForwardKey = true }))
	g := s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {key}, "X-Auth-Tenant": {"forged"}}})
	if g.status != 200 || g.appHeader("X-Api-Key") != key || g.appHeader("X-Auth-Tenant") != "" {
		t.Errorf("%d: %s", g.status, g.text)
	}
	g = s.send(sent{method: "GET", path: "/public/a", header: http.Header{"X-Api-Key": {key + "x"}, "X_api_key": {key}, "X-Auth-Subject": {"forged"}}})
	if g.status != 200 || g.appHeader("X-Api-Key") != "" || g.appHeader("X_api_key") != "" || g.appHeader("X-Auth-Subject") != "" {
		t.Errorf("%d: %s", g.status, g.text)
	}
}

// TestAPIKeyWithToken: a request with both is refused, also if one is not valid. In Shadow the token's identity stays.
func TestAPIKeyWithToken(t *testing.T) {
	w := newWorld(t)
	key, entry := mint(t, "ci", "")
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry))
	for _, mode := range []compiled.Mode{compiled.Enforce, compiled.Shadow} {
		s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
			p.APIKeys = keyPolicy(nil).APIKeys
			p.APIKeys.ClaimsToHeaders, p.APIKeys.Mode = nil, mode
		})).ready()
		ada := s.login("ada").access
		for name, r := range map[string]sent{
			"both valid":      {method: "GET", path: "/orders", bearer: ada, header: http.Header{"X-Api-Key": {key}}},
			"an invalid key":  {method: "GET", path: "/orders", bearer: ada, header: http.Header{"X-Api-Key": {"x"}}},
			"invalid token":   {method: "GET", path: "/orders", bearer: "x", header: http.Header{"X-Api-Key": {key}}},
			"a public route":  {method: "GET", path: "/public/a", bearer: ada, header: http.Header{"X-Api-Key": {key}}},
			"both twice over": {method: "GET", path: "/orders", bearer: ada, header: http.Header{"X-Api-Key": {key, key}}},
		} {
			g := s.send(r)
			want, caller := 400, ""
			if mode == compiled.Shadow {
				want, caller = 200, `"ada"`
				if name == "invalid token" {
					want, caller = 401, ""
				}
			}
			if g.status != want || want == 200 && g.field("caller") != caller || strings.Contains(g.text, key) {
				t.Errorf("%s in %s: %d %s; want %d as %s", name, mode, g.status, g.text, want, caller)
			}
		}
		if g := s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {key}}}); g.status != 200 {
			t.Errorf("a key alone: %d %s", g.status, g.text)
		}
	}
}

// TestAPIKeyRotation: a new file counts without a restart; a broken one leaves the last good one in use.
func TestAPIKeyRotation(t *testing.T) {
	log := &logtest.Buffer{}
	w := newWorld(t)
	w.log = slog.New(slog.NewJSONHandler(log, nil))
	first, entry1 := mint(t, "first", "")
	second, entry2 := mint(t, "second", "")
	s := w.sidecar(keyPolicy(nil))
	use := func(key string) int {
		return s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {key}}}).status
	}
	if got := use(first); got != 503 {
		t.Errorf("without a file: %d", got)
	}
	if problems := s.shared.Problems(); len(problems) != 1 || !strings.Contains(problems[0].Message, "apiKeys") {
		t.Errorf("problems %v", problems)
	}
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry1))
	redistest.Eventually(t, "the first key to be accepted", func() bool { return use(first) == 200 })
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry2+"  broken: ["))
	redistest.Eventually(t, "the broken file to be reported", func() bool { return strings.Contains(log.String(), "loading API keys failed") })
	if use(first) != 200 || use(second) != 401 {
		t.Error("the last good file is not in use")
	}
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry2))
	redistest.Eventually(t, "the second key to be accepted", func() bool { return use(second) == 200 })
	if got := use(first); got != 401 {
		t.Errorf("the removed key: %d", got)
	}
	for _, secret := range []string{first, second, keys.Hash(first), keys.Hash(second)} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %s", secret)
		}
	}
	if !strings.Contains(log.String(), `"provider":"api-keys"`) || !strings.Contains(log.String(), `"tokenId":"first"`) {
		t.Error("the access log does not name the key's id")
	}
}

// TestAPIKeyRevocation: a key is refused by its id, or by its subject, as soon as a document says so.
func TestAPIKeyRevocation(t *testing.T) {
	w := newWorld(t)
	key, entry := mint(t, "ci", "")
	other, entry2 := mint(t, "other", "")
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry+entry2))
	s := w.sidecar(keyPolicy(nil))
	later := time.Now().Add(time.Hour).Unix()
	for name, r := range map[string]compiled.RevokedTokens{
		"id":      {Kind: compiled.RevokedToken, Value: "ci"},
		"subject": {Kind: compiled.RevokedSubject, Value: "svc:ci", Before: time.Now().Unix()},
	} {
		r.Name, r.Issuer, r.Expires = "leak", compiled.APIKeysIssuer, later
		s.apply(keyPolicy(func(p *compiled.Policy) { p.RevokedTokens = []compiled.RevokedTokens{r} }))
		g := s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {key}}})
		if g.status != 401 || g.code() != "token-revoked" {
			t.Errorf("by %s: %d %s", name, g.status, g.text)
		}
		g = s.send(sent{method: "GET", path: "/public/a", header: http.Header{"X-Api-Key": {key}}})
		if g.status != 200 || g.appHeader("X-Auth-Subject") != "" || strings.Contains(g.text, key) {
			t.Errorf("by %s, on a public route: %d %s", name, g.status, g.text)
		}
		if g := s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {other}}}); g.status != 200 {
			t.Errorf("by %s, another key: %d %s", name, g.status, g.text)
		}
	}
}

// TestAPIKeyMetrics: the use of a key is counted by its id until the key is no longer in the file, and input creates no series.
func TestAPIKeyMetrics(t *testing.T) {
	w := newWorld(t)
	w.registry = prometheus.NewRegistry()
	key, entry := mint(t, "ci", "")
	_, unused := mint(t, "unused", "")
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry+unused))
	s := w.sidecar(keyPolicy(nil))
	for i := range 20 {
		forged, _ := mint(t, fmt.Sprint("forged", i), "")
		s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {forged}}})
		s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {fmt.Sprint("id", i)}}})
	}
	s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {key}}})
	text := gathered(t, w.registry)
	if n := strings.Count(text, `name:"key_id"`); n != 2 || !strings.Contains(text, `value:"ci"`) || strings.Contains(text, key) {
		t.Errorf("%d series with a key id: %s", n, text)
	}
	for _, reason := range []string{"api_key_unknown", "api_key_malformed"} {
		if !strings.Contains(text, reason) {
			t.Errorf("no count of %s", reason)
		}
	}
	w.writeSecret("shop-keys", "keys.yaml", []byte(unused))
	redistest.Eventually(t, "the series to end", func() bool { return !strings.Contains(gathered(t, w.registry), `name:"key_id"`) })
}

// TestAPIKeyLimits: limits by subject count keys separately.
func TestAPIKeyLimits(t *testing.T) {
	w := newWorld(t)
	key, entry := mint(t, "ci", "")
	other, entry2 := mint(t, "other", "")
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry+entry2))
	s := w.sidecar(keyPolicy(func(p *compiled.Policy) {
		p.RateLimits = []compiled.RateLimit{{
			Name: "api", Limit: 2, Period: compiled.Duration(time.Hour), Burst: 2, KeyBy: []compiled.RateLimitKey{{Type: compiled.KeySubject}},
			Mode: compiled.Enforce, OnFailure: compiled.Deny,
		}}
	}))
	var got []int
	for _, k := range []string{key, key, key, other} {
		got = append(got, s.send(sent{method: "GET", path: "/orders", header: http.Header{"X-Api-Key": {k}}}).status)
	}
	if want := []int{200, 200, 429, 200}; !slices.Equal(got, want) {
		t.Errorf("statuses %v; want %v", got, want)
	}
}
