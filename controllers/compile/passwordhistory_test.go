package compile_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// Sections on which the rules about old passwords depend.
const (
	changes = `routes: [{match: [{paths: [/a]}], password: {json: p}, account: {json: a}}]`
	logins  = "\n" + `loginProtection: {routes: [{name: login, match: [{paths: [/login]}], account: {json: a}, failure: {statuses: [401]}}]}`
)

// TestHistoryWarnings: the operator warns about each rule by itself, and about what makes it useless. Each spec is a line more than one that
// has no such warning.
func TestHistoryWarnings(t *testing.T) {
	const (
		remember = `passwordPolicy: {rules: {remember: 5}, ` + changes + "}\n"
		tokens   = `jwt: {providers: [{name: a, issuer: i, audiences: [x], algorithms: [RS256], jwks: {uri: "https://id.example.com/keys"}}]}` + "\n"
		redis    = `{redis: {addresses: ["redis:6379"]}}`
		public   = `authorization: {rules: [{name: public, match: [{paths: [/a]}], require: Anonymous}]}`
		other    = `authorization: {rules: [{name: public, match: [{paths: [/b]}], require: Anonymous}]}`
	)
	nist := "spec.passwordPolicy.rules.remember: NIST SP 800-63B-4 asks for no history"
	tests := map[string]struct {
		spec, class string
		want        []string
	}{
		"remembered":                       {remember + tokens, redis, []string{nist}},
		"remembered for the hash endpoint": {"passwordPolicy: {rules: {remember: 5}}", `{}`, []string{nist}},
		"by each pod":                      {remember + tokens, `{}`, []string{nist, "spec.passwordPolicy.rules: the SidecarClass has no Redis"}},
		"without tokens":                   {remember, redis, []string{nist, "spec.passwordPolicy.routes[0]: old passwords are remembered, but remember is not judged without a caller's token"}},
		"on a public route":                {remember + tokens + public, redis, []string{nist, "spec.passwordPolicy.routes[0]: old passwords are remembered, but remember is not judged without a caller's token"}},
		"beside a public route":            {remember + tokens + other, redis, []string{nist}},
		"expired":                          {`passwordPolicy: {rules: {maxAge: 90d}, ` + changes + `}` + logins, redis, []string{"spec.passwordPolicy.rules.maxAge: NIST SP 800-63B-4 says that passwords shall not be changed periodically"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			policy, class := &v1alpha1.SecurityPolicy{}, &v1alpha1.SidecarClass{}
			if err := yaml.UnmarshalStrict([]byte(tt.spec), &policy.Spec); err != nil {
				t.Fatal(err)
			}
			if err := yaml.UnmarshalStrict([]byte(tt.class), &class.Spec); err != nil {
				t.Fatal(err)
			}
			p, findings := compile.Compile(policy, class)
			if p == nil || len(findings) != len(tt.want) {
				t.Fatalf("%v; want %q", findings, tt.want)
			}
			for i, want := range tt.want {
				if got := findings[i]; got.Severity != compile.Warning || !strings.HasPrefix(got.Field+": "+got.Message, want) {
					t.Errorf("%v; want %q", got, want)
				}
			}
		})
	}
}

// TestPasswordAges: an age is whole days or a duration.
func TestPasswordAges(t *testing.T) {
	for text, want := range map[v1alpha1.Age]string{"": "0s", "90d": "2160h0m0s", "1d": "24h0m0s", "2160h": "2160h0m0s"} {
		if got, err := text.Std(); err != nil || got.String() != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []v1alpha1.Age{"0d", "-1d", "d", "1.5d", "10000d", "99999999999999999999d", "1h1d", "90", "-1h", "+1d"} {
		if got, err := text.Std(); err == nil || !strings.Contains(err.Error(), "such as 90d") {
			t.Errorf("%q: %s, %v; want an error", text, got, err)
		}
	}
}

// FuzzPasswordAge: what is an age is not negative, and within what a duration can be.
func FuzzPasswordAge(f *testing.F) {
	for _, text := range []string{"", "90d", "9999d", "2160h", "1h30m", "-1d", "1d1h", "d", "99999999999999999999d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := v1alpha1.Age(text).Std(); got < 0 || err != nil && got != 0 {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	})
}
