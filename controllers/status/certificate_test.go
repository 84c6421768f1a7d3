package status

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func TestCertificateReady(t *testing.T) {
	problem := func(reason, message string) compiled.Problem {
		return compiled.Problem{Kind: compiled.ProblemCertificate, Reason: reason, Message: message}
	}
	for name, tc := range map[string]struct {
		problems    []compiled.Problem
		want        string
		wantMessage string
	}{
		"ready":                {nil, "True/Ready", "1 sidecar is able to use the policy's certificates; the first expires at 2027-01-15T08:00:00Z"},
		"missing":              {[]compiled.Problem{problem("Unavailable", "secret/a: no such file")}, "False/Unavailable", "secret/a"},
		"the most severe":      {[]compiled.Problem{problem("ListOutdated", "x"), problem("Expiring", "secret/a expires"), problem("Expired", "secret/b expired")}, "False/Expired", "secret/a expires"},
		"an unknown reason":    {[]compiled.Problem{problem("Nonsense", "\x1b[2J")}, "False/Unavailable", "?[2J"},
		"of something else":    {[]compiled.Problem{{Kind: compiled.ProblemKeys, Reason: "Unavailable"}}, "True/Ready", ""},
		"an outdated list":     {[]compiled.Problem{problem("ListOutdated", "at 2026")}, "False/ListOutdated", "at 2026"},
		"it cannot be renewed": {[]compiled.Problem{problem("RefreshFails", "pki/shop: sealed")}, "False/RefreshFails", "sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(changed("a", func(p *Pod) { p.Report.Problems, p.Report.CertificatesExpire = tc.problems, time.Unix(1800000000, 0) }),
				changed("b", func(p *Pod) { p.Report.Hash, p.Report.CertificatesExpire = "sha256:before", time.Unix(1700000000, 0) }),
				changed("c", func(p *Pod) { p.Bound, p.Report.CertificatesExpire = "another", time.Unix(1700000000, 0) }))
			for section, document := range map[string]*compiled.Policy{"tls": {TLS: &compiled.TLS{}}, "upstreamTLS": {UpstreamTLS: &compiled.UpstreamTLS{}}} {
				in.Compiled = document
				c := meta.FindStatusCondition(Of(in).Conditions, v1alpha1.ConditionCertificateReady)
				if c == nil || string(c.Status)+"/"+c.Reason != tc.want || !strings.Contains(c.Message, tc.wantMessage) {
					t.Errorf("%s: got %+v, want %s", section, c, tc.want)
				}
			}
		})
	}
	in := input(changed("a", func(*Pod) {}))
	in.Compiled = &compiled.Policy{}
	if c := meta.FindStatusCondition(Of(in).Conditions, v1alpha1.ConditionCertificateReady); c != nil {
		t.Errorf("without TLS: %+v", c)
	}
}
