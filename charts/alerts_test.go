package charts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// alert is a rule as the chart renders it.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

// rulesOf renders the alerts with values.
func rulesOf(t *testing.T, values ...string) (alerts []alert) {
	t.Helper()
	b, err := json.Marshal(rawRules(t, values...))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &alerts); err != nil {
		t.Fatal(err)
	}
	return alerts
}

// rawRules renders the alerts of all groups as they are.
func rawRules(t *testing.T, values ...string) (rules []any) {
	t.Helper()
	args := []string{"template", release, chart, "--set", "metrics.prometheusRule.enabled=true"}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	for _, object := range decode(t, run(t, "helm", args...)) {
		if object.GetKind() != "PrometheusRule" {
			continue
		}
		groups, _, err := unstructured.NestedSlice(object.Object, "spec", "groups")
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			rules = append(rules, g.(map[string]any)["rules"].([]any)...)
		}
	}
	return rules
}

// TestEveryAlertHasARunbook: the annotation of each alert leads to its section of docs/runbooks.md, which has no others.
func TestEveryAlertHasARunbook(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "docs", "runbooks.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]bool{}
	for _, s := range regexp.MustCompile(`(?m)^## (\S+)$`).FindAllStringSubmatch(string(page), -1) {
		sections[s[1]] = true
	}
	values := append(slices.Concat(auditValues, auditLogin), "redis.url=redis://redis", "metrics.prometheusRule.runbooks=https://runbooks.example.com/postern")
	for _, a := range rulesOf(t, values...) {
		if !sections[a.Alert] {
			t.Errorf("docs/runbooks.md has no section %s", a.Alert)
		}
		delete(sections, a.Alert)
		if want := "https://runbooks.example.com/postern#" + strings.ToLower(a.Alert); a.Annotations["runbook_url"] != want {
			t.Errorf("%s: runbook_url %q; want %q", a.Alert, a.Annotations["runbook_url"], want)
		}
		if a.Labels["severity"] == "" || a.Annotations["summary"] == "" {
			t.Errorf("%s has no severity or summary", a.Alert)
		}
	}
	for name := range sections {
		t.Errorf("docs/runbooks.md has a section %s without an alert", name)
	}
}

func TestHoldFor(t *testing.T) {
	own := map[string]string{}
	for _, a := range rulesOf(t) {
		own[a.Alert] = a.For
	}
	if own["PosternRedisDown"] != "2m" || own["PosternSidecarPanics"] != "" {
		t.Errorf("%v", own)
	}
	for _, a := range rulesOf(t, "metrics.prometheusRule.holdFor=0s") {
		if a.For != "0s" {
			t.Errorf("%s holds for %q", a.Alert, a.For)
		}
	}
}
