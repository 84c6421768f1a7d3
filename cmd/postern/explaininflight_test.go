package main

import (
	"strings"
	"testing"
)

const busyPolicy = `apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: app}
spec:
  selector: {}
  authorization:
    rules: [{name: all, match: [{paths: [/**]}], require: Anonymous}]
  rateLimits:
  - {name: busy, match: [{paths: [/reports/**]}], keyBy: [{type: Route}, {type: ClientAddress}], maxInFlight: 1}
`

// TestExplainInFlight: the step places names the maximums that count the request.
func TestExplainInFlight(t *testing.T) {
	args, _ := writeFiles(t, busyPolicy)
	for path, want := range map[string][]string{
		"/reports/1": {"places               passed", `rule "busy": Route, ClientAddress`},
		"/x":         {"places               passed"},
	} {
		stdout := mustRun(t, "", append(append([]string{"explain"}, args...), "--path", path)...)
		for _, text := range want {
			if !strings.Contains(stdout, text) {
				t.Errorf("%s: %q is not in:\n%s", path, text, stdout)
			}
		}
		if counts := strings.Contains(stdout, `"busy"`); counts != (len(want) == 2) {
			t.Errorf("%s: named is %v in:\n%s", path, counts, stdout)
		}
	}
}
