package compile_test

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// TestForgottenRoutes: a login, a reset or a registration that only the default of authorization decides is reported, because its users have
// no token. What a rule says is intended.
func TestForgottenRoutes(t *testing.T) {
	const (
		login    = "spec.loginProtection.routes[0]"
		reset    = "spec.loginProtection.routes[1]"
		register = "spec.passwordPolicy.routes[0]"
		issued   = "tokens: {issuer: \"https://i.example.com\", audiences: [a], signingKey: {secretKeyRef: {name: s, key: k}}, login: [{methods: [POST], paths: [/login]}]}\n"
		keys     = "apiKeys: {keysRef: {secretKeyRef: {name: s, key: k}}}\n"
	)
	for name, tt := range map[string]struct {
		spec string
		want []string
	}{
		"forgotten":                        {keys, []string{login, reset, register}},
		"a default that denies":            {keys + "authorization: {default: Deny}", []string{login, reset, register}},
		"logins that issue tokens":         {issued, []string{reset, register}},
		"an open default":                  {keys + "authorization: {default: Anonymous}", nil},
		"open routes":                      {keys + "authorization: {rules: [{name: a, match: [{methods: [POST], paths: [/login, /reset, /register]}], require: Anonymous}]}", nil},
		"an open tree":                     {keys + "authorization: {rules: [{name: a, match: [{paths: [/**]}], require: Anonymous}]}", nil},
		"open routes of another method":    {keys + "authorization: {rules: [{name: a, match: [{methods: [GET], paths: [/login, /reset, /register]}], require: Anonymous}]}", []string{login, reset, register}},
		"one of two paths":                 {keys + "authorization: {rules: [{name: a, match: [{paths: [/login, /reset]}], require: Anonymous}]}", []string{register}},
		"a change of the caller's account": {issued + "authorization: {rules: [{name: a, match: [{paths: [/register]}]}, {name: b, match: [{paths: [/reset]}], require: Anonymous}]}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			policy := &v1alpha1.SecurityPolicy{}
			text := tt.spec + `
loginProtection:
  routes:
  - {name: login, match: [{methods: [POST], paths: [/login]}], account: {json: email}}
  - {name: reset, kind: PasswordReset, match: [{paths: [/reset]}], account: {json: email}}
passwordPolicy:
  routes:
  - {match: [{paths: [/register]}], password: {json: password}, account: {json: email}}
  - {match: [{methods: [PATCH], paths: [/profile]}], password: {json: password}, optional: true}`
			if err := yaml.UnmarshalStrict([]byte(text), &policy.Spec); err != nil {
				t.Fatal(err)
			}
			p, findings := compile.Compile(policy, &v1alpha1.SidecarClass{})
			if p == nil {
				t.Fatal(findings)
			}
			var got []string
			for _, f := range findings {
				if strings.Contains(f.Message, "no rule of authorization is about them") {
					got = append(got, f.Field)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%q; want %q", got, tt.want)
			}
		})
	}
}
