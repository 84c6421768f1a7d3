package chain

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// with returns a token with these claims in addition to the usual ones.
func (i issuer) with(t *testing.T, claims string) string {
	t.Helper()
	all := jwt.MapClaims{"iss": "https://id.example.com", "aud": "orders", "sub": "ada", "exp": time.Now().Add(time.Hour).Unix()}
	var more map[string]any
	if err := json.Unmarshal([]byte("{"+claims+"}"), &more); err != nil {
		t.Fatal(err)
	}
	maps.Copy(all, more)
	token := jwt.NewWithClaims(jwt.SigningMethodES256, all)
	token.Header["kid"] = "k"
	signed, err := token.SignedString(i.key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// sendLines sends a request with these lines unchanged, and returns its response.
func sendLines(t *testing.T, url string, lines ...string) response {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "%s\r\n\r\n", strings.Join(lines, "\r\n"))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{resp.StatusCode, resp.Header, string(body)}
}

// conditional returns a policy with one rule for each kind of condition: POST /refunds has all that the token decides, and the
// other paths have one condition each. A proxy at 127.0.0.1 names the client.
func conditional(i issuer) *compiled.Policy {
	p := policy(i)
	p.RateLimits, p.CORS, p.Compression = nil, nil, nil
	p.Sidecar.TrustedProxies = []string{"127.0.0.1/32"}
	p.Paths = &compiled.Paths{Options: compiled.PathOptions{
		EncodedSlash: compiled.PathKeep, Semicolon: compiled.PathReject, Backslash: compiled.PathReject, DoubleEncoding: compiled.PathReject, EmptySegments: compiled.PathKeep,
	}}
	present, absent := true, false
	rule := func(path string, require compiled.Requirement, c compiled.Conditions) compiled.AuthorizationRule {
		return compiled.AuthorizationRule{
			Name: "rule" + strings.ReplaceAll(path, "/", "-"), Match: []compiled.Match{{Paths: []string{path}}}, Require: require, Mode: compiled.Enforce, Conditions: c,
		}
	}
	const authenticated, anonymous = compiled.RequireAuthenticated, compiled.RequireAnonymous
	p.Authorization.Rules = []compiled.AuthorizationRule{
		rule("/scopes", authenticated, compiled.Conditions{Scopes: &compiled.ClaimMembers{All: []string{"orders:read", "orders:write"}}}),
		rule("/any-scope", authenticated, compiled.Conditions{Scopes: &compiled.ClaimMembers{All: []string{"openid"}, Any: []string{"orders:write", "orders:admin"}}}),
		rule("/claims", authenticated, compiled.Conditions{Claims: []compiled.ClaimCondition{
			{Claim: "realm_access.roles", ClaimMembers: compiled.ClaimMembers{Any: []string{"support", "admin"}}},
			{Claim: "tenant", ClaimMembers: compiled.ClaimMembers{All: []string{"acme"}}},
		}}),
		rule("/providers", authenticated, compiled.Conditions{Providers: []string{"corp"}}),
		rule("/other-provider", authenticated, compiled.Conditions{Providers: []string{"partner"}}),
		rule("/inside", anonymous, compiled.Conditions{ClientAddresses: []string{"10.0.0.0/8", "2001:db8::/32"}}),
		rule("/not-inside", anonymous, compiled.Conditions{NotClientAddresses: []string{"10.0.0.0/8"}}),
		rule("/hosts", anonymous, compiled.Conditions{Hosts: []string{"shop.example.com", "*.preview.example.com"}}),
		rule("/header", anonymous, compiled.Conditions{Headers: []compiled.HeaderCondition{{Name: "X-Env", Values: []string{"staging", "test"}}}}),
		rule("/prefix", anonymous, compiled.Conditions{Headers: []compiled.HeaderCondition{{Name: "x-version", Prefix: "2."}}}),
		rule("/present", anonymous, compiled.Conditions{Headers: []compiled.HeaderCondition{{Name: "X-Edge", Present: &present}}}),
		rule("/absent", anonymous, compiled.Conditions{Headers: []compiled.HeaderCondition{{Name: "X-Debug", Present: &absent}}}),
		rule("/all", authenticated, compiled.Conditions{
			Scopes: &compiled.ClaimMembers{All: []string{"a"}}, ClientAddresses: []string{"10.0.0.0/8"},
			Claims: []compiled.ClaimCondition{{Claim: "tenant", ClaimMembers: compiled.ClaimMembers{All: []string{"acme"}}}},
		}),
		rule("/denied", compiled.RequireDeny, compiled.Conditions{}),
		rule("/expression/*/refund", authenticated, compiled.Conditions{Expression: `request.segments[1] != "0" && claims.tenant == request.headers["x-tenant"]`}),
		rule("/other/**", anonymous, compiled.Conditions{Expression: `!(request.segments.exists(s, s == "secret")) && request.path != "/other/2"`}),
		rule("/dry", anonymous, compiled.Conditions{Expression: `request.method == "GET" && !("debug" in request.query) && !("x-debug" in request.headers)`}),
		rule("/network", anonymous, compiled.Conditions{Expression: `request.address == "10.1.2.3" && request.host == "shop.example.com" && request.time > timestamp("2020-01-01T00:00:00Z")`}),
		rule("/guests", anonymous, compiled.Conditions{Expression: `!has(claims.tenant) || claims.tenant == "acme"`}),
	}
	p.Providers = append(p.Providers, compiled.Provider{
		Name: "partner", Issuer: "https://partner.example.com", Audiences: []string{"orders"}, Algorithms: []string{"ES256"}, Keys: compiled.Keys{Inline: i.jwks},
		RequiredClaims: []compiled.RequiredClaim{{Claim: "scope", Members: &compiled.ClaimMembers{All: []string{"orders:read"}}}},
	})
	return p
}

// An answer is what a request gets. Its name is the row of docs/authorization.md if row is set.
type answer struct {
	path string
	// claims are those of the token, without braces; "-" for a request without a token.
	claims string
	// client is the client's address as the proxy names it, and host the Host field.
	client, host string
	lines        []string
	wantStatus   int
	wantCode     string
	// wantChallenge is WWW-Authenticate.
	wantChallenge string
}

const insufficient = `Bearer realm="orders", error="insufficient_scope", scope=`

// answers are the rows of docs/authorization.md.
func answers() map[string]answer {
	return map[string]answer{
		"no token": {path: "/scopes", claims: "-", wantStatus: 401, wantCode: "no-credentials", wantChallenge: `Bearer realm="orders"`},
		"a token that is not valid": {path: "/scopes", claims: `"aud": "other"`, wantStatus: 401, wantCode: "invalid-token",
			wantChallenge: `Bearer realm="orders", error="invalid_token", error_description="The token is for another audience"`},
		"a token without the requiredClaims of its provider": {path: "/scopes", claims: `"iss": "https://partner.example.com"`, wantStatus: 401, wantCode: "invalid-token",
			wantChallenge: `Bearer realm="orders", error="invalid_token", error_description="The token does not have a claim that is required"`},
		"no token, from an address that does not hold": {path: "/all", claims: "-", client: "192.0.2.1", wantStatus: 401, wantCode: "no-credentials", wantChallenge: `Bearer realm="orders"`},
		"all scopes":                                      {path: "/scopes", claims: `"scope": "orders:read orders:write"`, wantStatus: 200},
		"a scope is missing":                              {path: "/scopes", claims: `"scope": "orders:read"`, wantStatus: 403, wantCode: "insufficient-scope", wantChallenge: insufficient + `"orders:read orders:write"`},
		"none of the scopes of any":                       {path: "/any-scope", claims: `"scope": "openid"`, wantStatus: 403, wantCode: "insufficient-scope", wantChallenge: insufficient + `"openid orders:write"`},
		"one of any, but not all":                         {path: "/any-scope", claims: `"scope": "orders:admin"`, wantStatus: 403, wantCode: "insufficient-scope", wantChallenge: insufficient + `"openid orders:admin"`},
		"a scope is missing, and another condition fails": {path: "/all", claims: `"tenant": "acme"`, client: "192.0.2.1", wantStatus: 403, wantCode: "access-denied"},
		"a claim does not hold":                           {path: "/claims", claims: `"realm_access": {"roles": ["viewer"]}, "tenant": "acme"`, wantStatus: 403, wantCode: "access-denied"},
		"a claim is missing":                              {path: "/claims", claims: `"tenant": "acme"`, wantStatus: 403, wantCode: "access-denied"},
		"the token of another provider":                   {path: "/other-provider", wantStatus: 403, wantCode: "access-denied"},
		"an address outside of clientAddresses":           {path: "/inside", claims: "-", client: "192.0.2.1", wantStatus: 403, wantCode: "access-denied"},
		"an address inside of notClientAddresses":         {path: "/not-inside", claims: "-", client: "10.1.2.3", wantStatus: 403, wantCode: "access-denied"},
		"another host":                                    {path: "/hosts", claims: "-", host: "evil.example.com", wantStatus: 403, wantCode: "access-denied"},
		"a header does not hold":                          {path: "/header", claims: "-", lines: []string{"X-Env: prod"}, wantStatus: 403, wantCode: "access-denied"},
		"an expression does not hold":                     {path: "/expression/0/refund", claims: `"tenant": "acme"`, lines: []string{"X-Tenant: acme"}, wantStatus: 403, wantCode: "access-denied"},
		"an expression needs a claim that is missing":     {path: "/expression/7/refund", lines: []string{"X-Tenant: acme"}, wantStatus: 403, wantCode: "access-denied"},
		"a rule that denies":                              {path: "/denied", wantStatus: 403, wantCode: "access-denied"},
	}
}

// attacks are requests that must not pass, and their harmless kin that must.
func attacks() map[string]answer {
	const denied = "access-denied"
	scope := insufficient + `"orders:read orders:write"`
	pass := func(a answer) answer { a.wantStatus = 200; return a }
	deny := func(a answer) answer { a.wantStatus, a.wantCode = 403, denied; return a }
	lack := func(claims string) answer {
		return answer{path: "/scopes", claims: claims, wantStatus: 403, wantCode: "insufficient-scope", wantChallenge: scope}
	}
	huge := `"a` + strings.Repeat(`","a`, 1500) + `"`
	return map[string]answer{
		"scopes in an array":                    pass(answer{path: "/scopes", claims: `"scope": ["orders:write", "orders:read"]`}),
		"scp of Entra":                          pass(answer{path: "/scopes", claims: `"scp": "orders:read orders:write"`}),
		"scp of Okta":                           pass(answer{path: "/scopes", claims: `"scp": ["orders:read", "orders:write"]`}),
		"a longer scope":                        lack(`"scope": "orders:read orders:write2"`),
		"a scope in another case":               lack(`"scope": "orders:read Orders:Write"`),
		"a scope after a tab":                   lack(`"scope": "orders:read\torders:write"`),
		"scopes in one element":                 lack(`"scope": ["orders:read orders:write"]`),
		"scopes in an object":                   lack(`"scope": {"orders:read": true, "orders:write": true}`),
		"scopes in an array of arrays":          lack(`"scope": [["orders:read", "orders:write"]]`),
		"a scope of null, and scp":              lack(`"scope": null, "scp": "orders:read orders:write"`),
		"a scope of a number, and scp":          lack(`"scope": 1, "scp": "orders:read orders:write"`),
		"a scope without the words of scp":      lack(`"scope": "orders:read", "scp": "orders:write"`),
		"a huge array of scopes":                lack(`"scope": [` + huge + `]`),
		"no scope":                              lack(``),
		"all claims":                            pass(answer{path: "/claims", claims: `"realm_access": {"roles": ["viewer", "admin"]}, "tenant": "acme"`}),
		"roles in words":                        pass(answer{path: "/claims", claims: `"realm_access": {"roles": "viewer admin"}, "tenant": "acme"`}),
		"one claim of two":                      deny(answer{path: "/claims", claims: `"realm_access": {"roles": ["admin"]}, "tenant": "acme2"`}),
		"roles that are an object":              deny(answer{path: "/claims", claims: `"realm_access": {"roles": {"admin": true}}, "tenant": "acme"`}),
		"roles that are true":                   deny(answer{path: "/claims", claims: `"realm_access": {"roles": true}, "tenant": "acme"`}),
		"a text in place of the outer object":   deny(answer{path: "/claims", claims: `"realm_access": "roles admin", "tenant": "acme"`}),
		"an array in place of the outer object": deny(answer{path: "/claims", claims: `"realm_access": [{"roles": ["admin"]}], "tenant": "acme"`}),
		"a huge array of roles":                 deny(answer{path: "/claims", claims: `"realm_access": {"roles": [` + huge + `]}, "tenant": "acme"`}),
		"the own provider":                      pass(answer{path: "/providers"}),
		"the other provider":                    pass(answer{path: "/other-provider", claims: `"iss": "https://partner.example.com", "scope": "orders:read"`}),
		"a claim that names another provider":   deny(answer{path: "/other-provider", claims: `"provider": "partner", "azp": "https://partner.example.com"`}),

		"inside":                                 pass(answer{path: "/inside", claims: "-", client: "10.1.2.3"}),
		"inside, as IPv4-mapped IPv6":            pass(answer{path: "/inside", claims: "-", client: "::ffff:10.1.2.3"}),
		"inside, IPv6":                           pass(answer{path: "/inside", claims: "-", client: "2001:db8::1"}),
		"outside, in hexadecimal IPv4-mapped":    deny(answer{path: "/inside", claims: "-", client: "::ffff:c000:201"}),
		"outside, an IPv6 address with its bits": deny(answer{path: "/inside", claims: "-", client: "a00::1"}),
		"outside, with a spoofed first hop":      deny(answer{path: "/inside", claims: "-", client: "10.1.2.3, 192.0.2.1"}),
		"outside, with other forwarding headers": deny(answer{path: "/inside", claims: "-", client: "192.0.2.1", lines: []string{"X-Real-IP: 10.1.2.3", "Forwarded: for=10.1.2.3"}}),
		"outside, without an address":            deny(answer{path: "/inside", claims: "-"}),
		"not inside":                             pass(answer{path: "/not-inside", claims: "-", client: "192.0.2.1"}),
		"not inside, as IPv4-mapped IPv6":        deny(answer{path: "/not-inside", claims: "-", client: "::ffff:10.1.2.3"}),

		"the host":                         pass(answer{path: "/hosts", claims: "-"}),
		"the host in upper case":           pass(answer{path: "/hosts", claims: "-", host: "SHOP.Example.COM"}),
		"the host with a port":             pass(answer{path: "/hosts", claims: "-", host: "shop.example.com:8443"}),
		"the host with the root's dot":     pass(answer{path: "/hosts", claims: "-", host: "shop.example.com."}),
		"the host with a dot and a port":   pass(answer{path: "/hosts", claims: "-", host: "shop.example.com.:80"}),
		"a host below the wildcard":        pass(answer{path: "/hosts", claims: "-", host: "pr-1.preview.example.com"}),
		"a host far below the wildcard":    pass(answer{path: "/hosts", claims: "-", host: "a.b.preview.example.com"}),
		"the wildcard's own domain":        deny(answer{path: "/hosts", claims: "-", host: "preview.example.com"}),
		"a wildcard in the request":        deny(answer{path: "/hosts", claims: "-", host: "evilpreview.example.com"}),
		"the host as a prefix":             deny(answer{path: "/hosts", claims: "-", host: "shop.example.com.evil.example"}),
		"the host as a port":               deny(answer{path: "/hosts", claims: "-", host: "evil.example:shop.example.com"}),
		"two dots at the end":              deny(answer{path: "/hosts", claims: "-", host: "shop.example.com.."}),
		"an IPv6 host":                     deny(answer{path: "/hosts", claims: "-", host: "[2001:db8::1]:80"}),
		"X-Forwarded-Host is not the host": deny(answer{path: "/hosts", claims: "-", host: "evil.example", lines: []string{"X-Forwarded-Host: shop.example.com"}}),
		"the absolute form wins":           deny(answer{path: "http://evil.example/hosts", claims: "-"}),
		"the absolute form":                pass(answer{path: "http://shop.example.com/hosts", claims: "-"}),

		"the expression holds":                    pass(answer{path: "/expression/7/refund", claims: `"tenant": "acme"`, lines: []string{"x-tenant: acme"}}),
		"the expression without its header":       deny(answer{path: "/expression/7/refund", claims: `"tenant": "acme"`}),
		"the expression with its header twice":    deny(answer{path: "/expression/7/refund", claims: `"tenant": "acme"`, lines: []string{"X-Tenant: acme", "X-Tenant: acme"}}),
		"the expression, another tenant":          deny(answer{path: "/expression/7/refund", claims: `"tenant": "acme"`, lines: []string{"X-Tenant: umbra"}}),
		"the expression, a claim of another type": deny(answer{path: "/expression/7/refund", claims: `"tenant": ["acme"]`, lines: []string{"X-Tenant: acme"}}),
		"the expression, named by Connection":     pass(answer{path: "/expression/7/refund", claims: `"tenant": "acme"`, lines: []string{"X-Tenant: acme", "Connection: X-Tenant"}}),
		"the expression, under a variant's name":  deny(answer{path: "/expression/7/refund", claims: `"tenant": "acme"`, lines: []string{"X_Tenant: acme"}}),
		"the expression without a token":          {path: "/expression/7/refund", claims: "-", lines: []string{"X-Tenant: acme"}, wantStatus: 401, wantCode: "no-credentials", wantChallenge: `Bearer realm="orders"`},
		"a slash at the end":                      deny(answer{path: "/other/2/secret/", claims: "-"}),
		"a path that is not excluded":             pass(answer{path: "/other/3", claims: "-"}),
		"a path that is excluded":                 deny(answer{path: "/other/2", claims: "-"}),
		"a path that is excluded, encoded":        deny(answer{path: "/other/%32", claims: "-"}),
		"a path with an encoded slash":            deny(answer{path: "/other/a%2Fsecret", claims: "-"}),
		"a path that one reading excludes":        deny(answer{path: "/other//2", claims: "-"}),
		"no debug parameter":                      pass(answer{path: "/dry?a=1", claims: "-"}),
		"a debug parameter":                       deny(answer{path: "/dry?a=1&debug", claims: "-"}),
		"a debug parameter, encoded":              deny(answer{path: "/dry?%64ebug=1", claims: "-"}),
		"a query that servers read differently":   deny(answer{path: "/dry?a=1;debug=1", claims: "-"}),
		"a query that is malformed":               deny(answer{path: "/dry?a=%zz&b=1", claims: "-"}),
		"no debug header":                         pass(answer{path: "/dry", claims: "-"}),
		"a debug header that Connection names":    deny(answer{path: "/dry", claims: "-", lines: []string{"X-Debug: 1", "Connection: x-debug"}}),
		"a debug header, twice":                   deny(answer{path: "/dry", claims: "-", lines: []string{"X-Debug: 1", "X-Debug: 2"}}),
		"the address, the host and the time":      pass(answer{path: "/network", claims: "-", client: "::ffff:10.1.2.3", host: "SHOP.example.com.:80"}),
		"another address in the expression":       deny(answer{path: "/network", claims: "-", client: "10.1.2.4"}),
		"another host in the expression":          deny(answer{path: "/network", claims: "-", client: "10.1.2.3", host: "other.example.com"}),
		"an IPv6 host in the expression":          deny(answer{path: "/network", claims: "-", client: "10.1.2.3", host: "[::1]"}),
		"a guest":                                 pass(answer{path: "/guests", claims: "-"}),
		"a guest of the tenant":                   pass(answer{path: "/guests", claims: `"tenant": "acme"`}),
		"a guest of another tenant":               deny(answer{path: "/guests", claims: `"tenant": "umbra"`}),

		"the header":                             pass(answer{path: "/header", claims: "-", lines: []string{"x-env: staging"}}),
		"the header in another case":             deny(answer{path: "/header", claims: "-", lines: []string{"X-Env: Staging"}}),
		"the header twice, good first":           deny(answer{path: "/header", claims: "-", lines: []string{"X-Env: staging", "X-Env: prod"}}),
		"the header twice, good last":            deny(answer{path: "/header", claims: "-", lines: []string{"X-Env: prod", "X-Env: staging"}}),
		"the header twice, equal":                deny(answer{path: "/header", claims: "-", lines: []string{"X-Env: staging", "X-Env: staging"}}),
		"the header as a list":                   deny(answer{path: "/header", claims: "-", lines: []string{"X-Env: staging, prod"}}),
		"the header under a variant's name":      deny(answer{path: "/header", claims: "-", lines: []string{"X_Env: staging"}}),
		"a variant beside the header is removed": pass(answer{path: "/header", claims: "-", lines: []string{"X-Env: staging", "X_Env: prod"}}),
		"no header":                              deny(answer{path: "/header", claims: "-"}),
		"the header is named by Connection":      pass(answer{path: "/header", claims: "-", lines: []string{"X-Env: staging", "Connection: x-env"}}),
		"a prefix":                               pass(answer{path: "/prefix", claims: "-", lines: []string{"X-Version: 2.1"}}),
		"a prefix, twice":                        deny(answer{path: "/prefix", claims: "-", lines: []string{"X-Version: 2.1", "X-Version: 1"}}),
		"another prefix":                         deny(answer{path: "/prefix", claims: "-", lines: []string{"X-Version: 12.1"}}),
		"present":                                pass(answer{path: "/present", claims: "-", lines: []string{"X-Edge: 1"}}),
		"present, but empty":                     deny(answer{path: "/present", claims: "-", lines: []string{"X-Edge:"}}),
		"not present":                            deny(answer{path: "/present", claims: "-"}),
		"absent":                                 pass(answer{path: "/absent", claims: "-"}),
		"absent, but empty":                      deny(answer{path: "/absent", claims: "-", lines: []string{"X-Debug:"}}),
		"absent, but named by Connection":        deny(answer{path: "/absent", claims: "-", lines: []string{"X-Debug: 1", "Connection: close, X-Debug"}}),
	}
}

// TestConditions sends requests with real tokens through the whole chain.
func TestConditions(t *testing.T) {
	i := newIssuer(t)
	url := serve(t, conditional(i), config(t, newShared(t)))
	all := answers()
	maps.Copy(all, attacks())
	for name, tt := range all {
		t.Run(name, func(t *testing.T) {
			lines := []string{"GET " + tt.path + " HTTP/1.1", "Host: " + ownHost}
			if tt.host != "" {
				lines[1] = "Host: " + tt.host
			}
			if tt.claims != "-" {
				lines = append(lines, "Authorization: Bearer "+i.with(t, tt.claims))
			}
			if tt.client != "" {
				lines = append(lines, "X-Forwarded-For: "+tt.client)
			}
			got := sendLines(t, url, append(lines, tt.lines...)...)
			if got.status != tt.wantStatus || got.header.Get("WWW-Authenticate") != tt.wantChallenge {
				t.Errorf("%d with WWW-Authenticate %q: %s; want %d with %q", got.status, got.header.Get("WWW-Authenticate"), got.body, tt.wantStatus, tt.wantChallenge)
			}
			if tt.wantCode != "" && !strings.Contains(got.body, "/problems/"+tt.wantCode+`"`) {
				t.Errorf("%s; want the code %s", got.body, tt.wantCode)
			}
			for _, inner := range []string{"10.0.0.0", "realm_access", "tenant", "acme", "partner", "preview", "X-Env", "staging", "rule-", "segments", "claims"} {
				if got.status >= 400 && strings.Contains(fmt.Sprint(got.header, got.body), inner) {
					t.Errorf("the refusal tells the client %q: %v %s", inner, got.header, got.body)
				}
			}
		})
	}
}

// TestAnswersAreDocumented: docs/authorization.md has what each condition answers.
func TestAnswersAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/authorization.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range answers() {
		row := fmt.Sprintf("| %s | %d |", name, a.wantStatus)
		if a.wantCode != "" {
			row += fmt.Sprintf(" `%s` |", a.wantCode)
			if a.wantChallenge != "" {
				row += fmt.Sprintf(" `%s` |", a.wantChallenge)
			}
		}
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/authorization.md has no row that begins with %s", row)
		}
	}
}

// TestRefusalsAreLogged: the log has the rule and the kind of the condition, also in Shadow mode.
func TestRefusalsAreLogged(t *testing.T) {
	i := newIssuer(t)
	for _, shadow := range []bool{false, true} {
		p := conditional(i)
		p.Sidecar.AccessLog = "All"
		for k := range p.Authorization.Rules {
			if shadow {
				p.Authorization.Rules[k].Mode = compiled.Shadow
			}
		}
		log := &logtest.Buffer{}
		c := config(t, newShared(t))
		c.Logger = slog.New(slog.NewJSONHandler(log, nil))
		url := serve(t, p, c)
		want := map[string]string{"/inside": "clientAddresses", "/header": "headers", "/scopes": "scopes", "/claims": "claims", "/other-provider": "providers", "/hosts": "hosts", "/expression/7/refund": "expression"}
		for path := range want {
			if got := call(t, "GET", url+path, map[string]string{"Authorization": "Bearer " + i.token(t, "ada")}); (got.status == 200) != shadow {
				t.Errorf("%s: %d in shadow mode: %v", path, got.status, shadow)
			}
		}
		for path, condition := range want {
			code := "access-denied"
			if condition == "scopes" {
				code = "insufficient-scope"
			}
			line := fmt.Sprintf(`"decisions":[{"stage":"authz","rule":"rule%s","condition":%q,"code":%q,"shadow":%v}]`, strings.ReplaceAll(strings.ReplaceAll(path, "7", "*"), "/", "-"), condition, code, shadow)
			redistest.Eventually(t, "the line of "+path, func() bool { return strings.Contains(log.String(), line) })
		}
		if cause := `"cause":"evaluating expression: a value that it needs is absent`; strings.Contains(log.String(), cause) == shadow {
			t.Errorf("the log has the cause %s in shadow mode %v:\n%s", cause, shadow, log)
		}
	}
}

// TestOwnTokensAreAProvider: a rule names the policy's own tokens postern.
func TestOwnTokensAreAProvider(t *testing.T) {
	w := newWorld(t)
	i := newIssuer(t)
	s := w.sidecar(loginPolicy(func(p *compiled.Policy) {
		p.Providers = policy(i).Providers
		for path, provider := range map[string]string{"/own": "postern", "/corp": "corp"} {
			p.Authorization.Rules = append(p.Authorization.Rules, compiled.AuthorizationRule{
				Name: provider, Match: []compiled.Match{{Paths: []string{path}}}, Require: compiled.RequireAuthenticated, Mode: compiled.Enforce,
				Conditions: compiled.Conditions{Providers: []string{provider}},
			})
		}
	})).ready()
	own, corp := s.login("ada").access, i.token(t, "ada")
	for name, tt := range map[string]struct {
		path, token string
		want        int
	}{
		"own":                      {"/own", own, 200},
		"own where corp must be":   {"/corp", own, 403},
		"corp":                     {"/corp", corp, 200},
		"corp where own must be":   {"/own", corp, 403},
		"nobody where own must be": {"/own", "", 401},
	} {
		if g := s.send(sent{method: "GET", path: tt.path, bearer: tt.token}); g.status != tt.want {
			t.Errorf("%s: %d %s; want %d", name, g.status, g.text, tt.want)
		}
	}
}

// TestBadConditionsBuildNothing: a sidecar refuses what the operator refuses, and keeps its current document.
func TestBadConditionsBuildNothing(t *testing.T) {
	i := newIssuer(t)
	authenticated := compiled.RequireAuthenticated
	tests := map[string]struct {
		require    compiled.Requirement
		conditions compiled.Conditions
		want       string
	}{
		"a network":              {authenticated, compiled.Conditions{ClientAddresses: []string{"10.0.0.1/8"}}, "clientAddresses[0]"},
		"an unknown provider":    {authenticated, compiled.Conditions{Providers: []string{"unknown"}}, "providers[0]"},
		"the own provider":       {authenticated, compiled.Conditions{Providers: []string{"postern"}}, "providers[0]"},
		"the header of a token":  {authenticated, compiled.Conditions{Headers: []compiled.HeaderCondition{{Name: "Authorization", Prefix: "Bearer"}}}, "headers[0].name"},
		"conditions of Deny":     {compiled.RequireDeny, compiled.Conditions{Hosts: []string{"a"}}, "require"},
		"scopes of Anonymous":    {compiled.RequireAnonymous, compiled.Conditions{Scopes: &compiled.ClaimMembers{All: []string{"a"}}}, "require"},
		"an expression":          {authenticated, compiled.Conditions{Expression: "request.verb == \"GET\""}, "expression: line 1, column 1: undeclared reference"},
		"scopes without a scope": {authenticated, compiled.Conditions{Scopes: &compiled.ClaimMembers{}}, "scopes"},
	}
	c := config(t, newShared(t))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := policy(i)
			p.Authorization.Rules[0].Require, p.Authorization.Rules[0].Conditions = tt.require, tt.conditions
			if _, err := Build(p, c); err == nil || !strings.Contains(err.Error(), "spec.authorization.rules[0]."+tt.want) {
				t.Errorf("%v; want an error about %s", err, tt.want)
			}
		})
	}
}

// TestSegments: an expression counts segments as patterns do.
func TestSegments(t *testing.T) {
	for path, want := range map[string][]string{
		"/": nil, "/a": {"a"}, "/a/": {"a"}, "/a/b": {"a", "b"}, "/a//b": {"a", "", "b"}, "/a//": {"a", ""}, "//a": {"", "a"}, "/a%2Fb/c": {"a%2Fb", "c"}, "*": {"*"},
	} {
		if got := segments(path); !slices.Equal(got, want) {
			t.Errorf("segments(%q) = %q; want %q", path, got, want)
		}
	}
}
