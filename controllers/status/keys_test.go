package status

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func TestKeysReady(t *testing.T) {
	reporting := func(problems ...compiled.Problem) Pod {
		return changed("a", func(p *Pod) { p.Report.Problems = problems })
	}
	problem := func(reason, message string) compiled.Problem {
		return compiled.Problem{Kind: compiled.ProblemKeys, Reason: reason, Message: message}
	}
	for name, tc := range map[string]struct {
		pod          Pod
		want         string
		wantMessages []string
	}{
		"ready": {reporting(), "True/Ready", nil},
		"a URI": {reporting(problem("RefreshFails", "corp: status 500")), "False/RefreshFails",
			[]string{"status 500", `provider "corp" come from https://corp.example/keys`}},
		"a missing Secret": {reporting(problem("Unavailable", "partner: no such file")), "False/Unavailable",
			[]string{`provider "partner" come from Secret "partner-keys", key "jwks.json", in namespace shop`}},
		"both":                {reporting(problem("RefreshFails", "corp: x"), problem("Unavailable", "partner: y")), "False/Unavailable", []string{"https://corp", "partner-keys"}},
		"a hostile pod":       {reporting(problem("Nonsense", "nobody: \x1b[2J")), "False/Unavailable", []string{"nobody: ?[2J"}},
		"no report as of yet": {changed("a", func(p *Pod) { p.Report = nil }), "Unknown/NoReport", nil},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(tc.pod)
			in.Compiled = &compiled.Policy{Providers: []compiled.Provider{
				{Name: "corp", Keys: compiled.Keys{URI: "https://corp.example/keys"}},
				{Name: "partner", Keys: compiled.Keys{Secret: &compiled.SecretRef{Name: "partner-keys", Key: "jwks.json"}}},
			}}
			c := meta.FindStatusCondition(Of(in).Conditions, v1alpha1.ConditionKeysReady)
			if c == nil || string(c.Status)+"/"+c.Reason != tc.want {
				t.Fatalf("got %+v, want %s", c, tc.want)
			}
			for _, text := range tc.wantMessages {
				if !strings.Contains(c.Message, text) {
					t.Errorf("the message is %q, want %q in it", c.Message, text)
				}
			}
		})
	}
	in := input(reporting())
	in.Compiled = &compiled.Policy{Providers: []compiled.Provider{{Name: "x", Keys: compiled.Keys{Inline: []byte("{}")}}}}
	if c := meta.FindStatusCondition(Of(in).Conditions, v1alpha1.ConditionKeysReady); c != nil {
		t.Errorf("with inline keys: %+v", c)
	}
}

// TestKeyFilesReady: a policy that has only API keys or users reports a file that is missing or not valid, and where it comes from.
func TestKeyFilesReady(t *testing.T) {
	in := input(changed("a", func(p *Pod) {
		p.Report.Problems = []compiled.Problem{{Kind: compiled.ProblemKeys, Reason: "RefreshFails", Message: "apiKeys: parsing key file: entry 2"}}
	}))
	in.Compiled = &compiled.Policy{APIKeys: &compiled.APIKeys{Keys: &compiled.SecretRef{Name: "shop-keys", Key: "keys.yaml"}}}
	c := meta.FindStatusCondition(Of(in).Conditions, v1alpha1.ConditionKeysReady)
	if c == nil || c.Status != "False" || c.Reason != v1alpha1.ReasonRefreshFails || !strings.Contains(c.Message, "entry 2") || !strings.Contains(c.Message, `Secret "shop-keys", key "keys.yaml"`) {
		t.Errorf("%+v", c)
	}
}
