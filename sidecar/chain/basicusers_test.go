package chain

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

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
