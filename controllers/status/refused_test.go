package status

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/posterndev/postern/api/v1alpha1"
)

// TestRefusalAdvice has the API server's own words.
func TestRefusalAdvice(t *testing.T) {
	in := Input{Class: &v1alpha1.SidecarClass{}}
	in.Class.Name = "default"
	for text, want := range map[string]string{
		"failed quota: q: must specify limits.cpu for: postern; limits.memory for: app,postern-redirect":                               `set spec.resources of SidecarClass "default"`,
		"failed quota: q: must specify limits.cpu for: app":                                                                            "pod template",
		"exceeded quota: q, requested: limits.cpu=1, used: limits.cpu=1, limited: limits.cpu=1":                                        `raise the quota, or lower spec.resources of SidecarClass "default"`,
		"maximum memory usage per Container is 64Mi, but limit is 128Mi":                                                               `change spec.resources of SidecarClass "default"`,
		"minimum cpu usage per Pod is 2, but request is 1":                                                                             `change spec.resources of SidecarClass "default"`,
		"cpu max limit to request ratio per Container is 2, but provided ratio is 10.000000":                                           `change spec.resources of SidecarClass "default"`,
		`violates PodSecurity "baseline:latest": non-default capabilities (container "postern-redirect" must not include "NET_ADMIN")`: "spec.interception: Takeover",
		`violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`:                                                   "securityContext in the workload's pod template",
		`Internal error occurred: failed calling webhook "pods.postern.dev": failed to call webhook: Post: EOF`:                        "the operator does not respond",
		`admission webhook "pods.postern.dev" denied the request: postern: it uses hostNetwork`:                                        "",
		`admission webhook "x.example.com" denied the request: no`:                                                                     "another installation's webhook",
		"something new": "",
	} {
		got := in.refusalAdvice(text)
		if !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s:\ngot  %q\nwant %q", text, got, want)
		}
	}
}

func TestRefusedPodsShow(t *testing.T) {
	in := input(good("a"))
	if c := meta.FindStatusCondition(Of(in).Conditions, v1alpha1.ConditionPodsAdmitted); c != nil {
		t.Errorf("without refusals there is %+v", c)
	}
	for i, name := range []string{"web", "cron", "db", "x", "y"} {
		in.Refused = append(in.Refused, Refusal{Workload{Deployment, name}, int32(i + 1), "exceeded \x1b[31mquota: q"})
	}
	got := Of(in)
	c := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionPodsAdmitted)
	if c == nil || c.Status != "False" || c.Reason != v1alpha1.ReasonPodsRefused {
		t.Fatalf("the condition is %+v", c)
	}
	for _, want := range []string{"15 pods were refused", "5 pods of deployment/y: exceeded ?[31mquota: q", "2 workloads more"} {
		if !strings.Contains(c.Message, want) {
			t.Errorf("%q lacks %q", c.Message, want)
		}
	}
	if got.Pods.Refused != 15 {
		t.Errorf("%d pods are counted", got.Pods.Refused)
	}
	in.Pods = nil
	e := meta.FindStatusCondition(Of(in).Conditions, v1alpha1.ConditionEnforced)
	if !strings.Contains(e.Message, "15 pods were refused: see PodsAdmitted") {
		t.Errorf("Enforced says %q", e.Message)
	}
}
