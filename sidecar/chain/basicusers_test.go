package chain

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/logtest"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// userPolicy returns a document that accepts only users of a file.
func userPolicy(change func(*compiled.Policy)) *compiled.Policy {
	return keyPolicy(func(p *compiled.Policy) {
		p.APIKeys.From, p.APIKeys.Keys, p.APIKeys.Users = nil, nil, &compiled.SecretRef{Name: "shop-users", Key: "users"}
		if change != nil {
			change(p)
		}
	})
}

// user returns the line of a user in the file.
func user(t testing.TB, name, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return name + ":" + string(hash) + "\n"
}

// TestBasicUsers: what each request with a name and a password gets.
func TestBasicUsers(t *testing.T) {
	w := newWorld(t)
	key, entry := mint(t, "ci", "")
	w.writeSecret("shop-users", "users", []byte(user(t, "ada", "difference engine")+user(t, "grace", "a:b")))
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry))
	users := w.sidecar(userPolicy(nil))
	both := w.sidecar(keyPolicy(func(p *compiled.Policy) { p.APIKeys.Users = userPolicy(nil).APIKeys.Users }))
	h := func(name string, values ...string) http.Header { return http.Header{name: values} }
	right := basic("ada", "difference engine")
	const alone, beside = `Basic realm="orders", charset="UTF-8"`, `ApiKey realm="orders"`
	tests := map[string]struct {
		to          *sidecar
		path        string
		header      http.Header
		want        int
		wantCode    string
		wantSubject string
	}{
		"nobody":                      {want: 401, wantCode: "no-credentials"},
		"a user":                      {header: right, want: 200, wantSubject: "ada"},
		"scheme in another case":      {header: h("Authorization", "bAsIc  "+right["Authorization"][0][6:]), want: 200, wantSubject: "ada"},
		"a colon in the password":     {header: basic("grace", "a:b"), want: 200, wantSubject: "grace"},
		"a wrong password":            {header: basic("ada", "wrong"), want: 401, wantCode: "invalid-user"},
		"the password of another":     {header: basic("ada", "a:b"), want: 401, wantCode: "invalid-user"},
		"an unknown name":             {header: basic("paul", "difference engine"), want: 401, wantCode: "invalid-user"},
		"a name in another case":      {header: basic("Ada", "difference engine"), want: 401, wantCode: "invalid-user"},
		"no name":                     {header: basic("", "difference engine"), want: 401, wantCode: "invalid-user"},
		"an empty password":           {header: basic("ada", ""), want: 401, wantCode: "invalid-user"},
		"not base64":                  {header: h("Authorization", "Basic !!!"), want: 401, wantCode: "invalid-user"},
		"huge":                        {header: basic("ada", strings.Repeat("x", 5000)), want: 401, wantCode: "invalid-user"},
		"two headers":                 {header: h("Authorization", right["Authorization"][0], right["Authorization"][0]), want: 400, wantCode: "several-credentials"},
		"a wrong one, public":         {path: "/public/a", header: basic("ada", "wrong"), want: 200},
		"a key without a key file":    {header: h("X-Api-Key", key), want: 401, wantCode: "no-credentials"},
		"both: a user":                {to: both, header: right, want: 200, wantSubject: "ada"},
		"both: a key":                 {to: both, header: h("X-Api-Key", key), want: 200, wantSubject: "svc:ci"},
		"both: a key as a password":   {to: both, header: basic("ada", key), want: 401, wantCode: "invalid-user"},
		"both: a password as a key":   {to: both, header: h("X-Api-Key", "difference engine"), want: 401, wantCode: "invalid-api-key"},
		"both: a key and a user":      {to: both, header: http.Header{"X-Api-Key": {key}, "Authorization": right["Authorization"]}, want: 400, wantCode: "several-credentials"},
		"both: a key and a wrong one": {to: both, header: http.Header{"X-Api-Key": {key}, "Authorization": {"Basic x"}}, want: 400, wantCode: "several-credentials"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			to, path := users, "/orders"
			if tt.to != nil {
				to = tt.to
			}
			if tt.path != "" {
				path = tt.path
			}
			g := to.in(t).send(sent{method: "GET", path: path, header: tt.header})
			if g.status != tt.want || g.code() != tt.wantCode || g.status == 200 && g.appHeader("X-Auth-Subject") != tt.wantSubject {
				t.Fatalf("%d %s; want %d %s for %s: %s", g.status, g.code(), tt.want, tt.wantCode, tt.wantSubject, g.text)
			}
			if g.status == 200 && (g.appHeader("Authorization") != "" || g.appHeader("X-Auth-Scope") != "") {
				t.Errorf("the app saw %s", g.text)
			}
			challenges := g.header["Www-Authenticate"]
			if g.status == 401 && (!slices.Contains(challenges, alone) || slices.Contains(challenges, beside) != (to == both)) {
				t.Errorf("challenges %q", challenges)
			}
		})
	}
}

// TestBasicUsersForward: the app sees a correct password only with forwardKey, and a wrong one never.
func TestBasicUsersForward(t *testing.T) {
	w := newWorld(t)
	w.writeSecret("shop-users", "users", []byte(user(t, "ada", "right")))
	s := w.sidecar(userPolicy(func(p *compiled.Policy) { p.APIKeys.ForwardKey = true }))
	for password, want := range map[string]bool{"right": true, "wrong": false} {
		g := s.send(sent{method: "GET", path: "/public/a", header: basic("ada", password)})
		if g.status != 200 || (g.appHeader("Authorization") != "") != want {
			t.Errorf("%s: %d: %s", password, g.status, g.text)
		}
	}
}

// TestBasicUsersRotation: a new file counts without a restart, at once also for passwords that are remembered; a broken one leaves the
// last good one in use.
func TestBasicUsersRotation(t *testing.T) {
	log := &logtest.Buffer{}
	w := newWorld(t)
	w.log = slog.New(slog.NewJSONHandler(log, nil))
	s := w.sidecar(userPolicy(nil))
	use := func(password string) got {
		return s.send(sent{method: "GET", path: "/orders", header: basic("ada", password)})
	}
	if g := use("first"); g.status != 503 || g.code() != "users-unavailable" || g.header.Get("Retry-After") == "" {
		t.Errorf("without a file: %d %s %v", g.status, g.text, g.header)
	}
	if problems := s.shared.Problems(); len(problems) != 1 || !strings.Contains(problems[0].Message, "basic users") || problems[0].Reason != "Unavailable" {
		t.Errorf("problems %v", problems)
	}
	w.writeSecret("shop-users", "users", []byte(user(t, "ada", "first")))
	redistest.Eventually(t, "the first password", func() bool { return use("first").status == 200 })
	w.writeSecret("shop-users", "users", []byte("ada:plain"))
	redistest.Eventually(t, "the broken file to be reported", func() bool { return strings.Contains(log.String(), "loading basic users failed") })
	if use("first").status != 200 {
		t.Error("the last good file is not in use")
	}
	w.writeSecret("shop-users", "users", []byte(user(t, "ada", "second")))
	redistest.Eventually(t, "the second password", func() bool { return use("second").status == 200 })
	if got := use("first").status; got != 401 {
		t.Errorf("the old password: %d", got)
	}
	for _, secret := range []string{"first", "second", "plain", "$2"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%q is in the log: %s", secret, log.String())
		}
	}
}

// alike are the parts of a response by which a client could tell two refusals apart.
func (g got) alike() string {
	h := g.header.Clone()
	h.Del("Date")
	h.Del("X-Request-ID")
	return fmt.Sprint(g.status, h, withoutID(g.text))
}

// TestRefusalsSayNothing: what differs from a real key or user in one character, and what is like nothing, get the same response.
func TestRefusalsSayNothing(t *testing.T) {
	w := newWorld(t)
	key, entry := mint(t, "ci", "")
	unknown, _ := mint(t, "unknown", "")
	w.writeSecret("shop-keys", "keys.yaml", []byte(entry))
	w.writeSecret("shop-users", "users", []byte(user(t, "ada", "right")))
	s := w.sidecar(keyPolicy(func(p *compiled.Policy) {
		p.APIKeys.Users = userPolicy(nil).APIKeys.Users
		p.APIKeys.From = append(p.APIKeys.From, compiled.APIKeyLocation{Query: "api_key"})
	}))
	for name, group := range map[string][]sent{
		"keys": {
			{header: http.Header{"X-Api-Key": {unknown}}}, {header: http.Header{"X-Api-Key": {key[:len(key)-1]}}}, {header: http.Header{"X-Api-Key": {key + "x"}}},
			{header: http.Header{"X-Api-Key": {"x"}}}, {header: http.Header{"X-Api-Key": {"ci"}}}, {header: http.Header{"X-Api-Key": {strings.ToLower(key)}}},
			{path: "/orders?api_key=" + unknown}, {path: "/orders?api_key=%zz"},
		},
		"users": {
			{header: basic("ada", "wrong")}, {header: basic("paul", "wrong")}, {header: basic("paul", "right")}, {header: basic("", "")},
			{header: basic("ada", strings.Repeat("x", 73))}, {header: basic("ada", "right\x00")}, {header: basic("ada", key)}, {header: http.Header{"Authorization": {"Basic !"}}},
		},
		"a public route": {
			{path: "/public/a"}, {path: "/public/a", header: http.Header{"X-Api-Key": {unknown}}}, {path: "/public/a", header: http.Header{"X-Api-Key": {"x"}}},
			{path: "/public/a", header: basic("ada", "wrong")}, {path: "/public/a", header: basic("paul", "wrong")}, {path: "/public/a?api_key=" + unknown},
		},
	} {
		first := ""
		for i, r := range group {
			r.method = "GET"
			if r.path == "" {
				r.path = "/orders"
			}
			g := s.send(r)
			switch {
			case i == 0:
				first = g.alike()
			case g.alike() != first:
				t.Errorf("%s: %d differs: %s and %s", name, i, g.alike(), first)
			}
		}
	}
}

// TestBasicUsersRevoked: a revocation of a subject refuses the user, and names of API keys mean no users.
func TestBasicUsersRevoked(t *testing.T) {
	w := newWorld(t)
	w.writeSecret("shop-users", "users", []byte(user(t, "ada", "right")+user(t, "grace", "right")))
	s := w.sidecar(userPolicy(func(p *compiled.Policy) {
		p.Revocation = &compiled.Revocation{MaxStaleness: compiled.Duration(time.Minute), OnFailure: compiled.Deny, Mode: compiled.Enforce}
		until := time.Now().Add(time.Hour).Unix()
		p.RevokedTokens = []compiled.RevokedTokens{
			{Name: "r", Kind: compiled.RevokedSubject, Issuer: compiled.BasicUsersIssuer, Value: "ada", Before: time.Now().Unix(), Expires: until},
			{Name: "s", Kind: compiled.RevokedSubject, Issuer: compiled.APIKeysIssuer, Value: "grace", Before: time.Now().Unix(), Expires: until},
		}
	})).ready()
	for name, want := range map[string]int{"ada": 401, "grace": 200} {
		if g := s.send(sent{method: "GET", path: "/orders", header: basic(name, "right")}); g.status != want || want == 401 && g.code() != "token-revoked" {
			t.Errorf("%s: %d %s", name, g.status, g.text)
		}
	}
	if g := s.send(sent{method: "GET", path: "/public/a", header: basic("ada", "right")}); g.status != 200 || g.appHeader("Authorization") != "" || g.appHeader("X-Auth-Subject") != "" {
		t.Errorf("a revoked user on a public route: %d %s", g.status, g.text)
	}
}
