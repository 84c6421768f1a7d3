package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/posterndev/postern/test/freeport"
)

// TestMetrics: promtool finds nothing wrong with the metrics of a running operator, docs/metrics.md has them with their types, and they
// include the end of the certificates and the conditions of a policy.
func TestMetrics(t *testing.T) {
	namespace := newNamespace(t, "metrics", nil)
	createPolicies(t, namespace, 1, nil)
	address := freeport.Address(t)
	runOperator(t, t.Output(), "--metrics-bind-address="+address)
	text := ""
	eventually(t, "the policy's condition is a metric", func() error {
		response, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		b, err := io.ReadAll(response.Body)
		if text = string(b); err == nil && !strings.Contains(text, fmt.Sprintf(`postern_policy_condition{condition="Accepted",namespace=%q,policy="p0",reason="Accepted",status="True"} 1`, namespace)) {
			err = fmt.Errorf("it has %q", regexp.MustCompile(`postern_policy_condition.*`).FindAllString(text, -1))
		}
		return err
	})
	for _, want := range []string{`postern_operator_certificate_expiry_timestamp_seconds{certificate="ca"} `, `postern_operator_certificate_expiry_timestamp_seconds{certificate="serving"} `} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "\n## The operator\n")
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (postern_\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(chapter, fmt.Sprintf("| `%s` | %s |", m[1], m[2])) {
			t.Errorf("docs/metrics.md does not say that %s is a %s", m[1], m[2])
		}
	}
	// Metrics of controller-runtime and client-go are not ours to name.
	var own strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), "postern_") {
			own.WriteString(line)
		}
	}
	cmd := exec.Command("promtool", "check", "metrics")
	cmd.Stdin = strings.NewReader(own.String())
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool (hack/cluster/packages.sh installs it): %v\n%s", err, out)
	}
}

// TestMetricsPage: docs/metrics.md has every metric that the operator's code names, and no other.
func TestMetricsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(page), "\n## The operator\n")
	out, err := exec.Command("grep", "-rhoE", "--include=*.go", "--exclude=*_test.go", `"postern_[a-z_]+"`, "../../controllers", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		name := strings.Trim(strings.TrimSpace(line), `"`)
		if code[name] = true; !strings.Contains(chapter, "| `"+name+"` |") {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
	rows := regexp.MustCompile("(?m)^\\| `(postern_[a-z_]+)`").FindAllStringSubmatch(chapter, -1)
	if len(rows) < 10 {
		t.Errorf("the page has %d metrics", len(rows))
	}
	for _, row := range rows {
		if !code[row[1]] {
			t.Errorf("docs/metrics.md has %s, which the code does not", row[1])
		}
	}
}
