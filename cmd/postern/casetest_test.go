package main

import (
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const samples = "../../config/samples/"

// TestCasesOfTheSamples: the sample cases hold for the sample policy, and a wrong expectation fails with what decided.
func TestCasesOfTheSamples(t *testing.T) {
	policy, good := samples+"securitypolicy.yaml", samples+"cases.yaml"
	stdout, stderr, err := run(t, "", "test", "-f", policy, "-f", good)
	if err != nil || !strings.Contains(stdout, "7 cases, 0 failed") {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ replace, with, want string }{
		"status":        {"status: 401, rule: default", "status: 200, rule: default", "status: want 200, got 401"},
		"rule":          {"rule: public, reachesApp", "rule: other, reachesApp", "rule: want other, got public"},
		"code":          {"code: no-credentials", "code: other", "code: want other, got no-credentials"},
		"stage":         {"stage: authorization", "stage: limits", "stage: want limits, got authorization"},
		"header":        {"X-Team: orders}", "X-Team: carts}", `headers.X-Team: want "carts", got "orders"`},
		"absent":        {"X-Team: orders}", "X-Team: null}", `headers.X-Team: want none, got "orders"`},
		"reaches":       {"reachesApp: false", "reachesApp: true", "reachesApp: want true, got false"},
		"app header":    {"X-Auth-Subject: ada,", "X-Auth-Subject: bob,", `appHeaders.X-Auth-Subject: want "bob", got "ada"`},
		"clock":         {"after: 1m", "after: 1s", "status: want 200, got 429"},
		"repetition":    {"repeat: 5", "repeat: 6", "step 1, request 6"},
		"rule of limit": {"rule: login, code", "rule: other, code", "rule: want other, got login"},
		"what decided":  {"status: 429, rule", "status: 200, rule", `decided by the stage exhausted-limits, rule "login": 429 rate-limited`},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(string(content), tt.replace, tt.with, 1)
			if changed == string(content) {
				t.Fatalf("%q is not in the sample", tt.replace)
			}
			args, _ := writeFiles(t, changed)
			stdout, _, err := run(t, "", append([]string{"test", "-f", policy}, args...)...)
			if !errors.Is(err, errFindings) || !strings.Contains(stdout, tt.want) || !strings.Contains(stdout, "7 cases, 1 failed") {
				t.Errorf("%v\n%s", err, stdout)
			}
		})
	}
}

func TestJUnit(t *testing.T) {
	const bad = "cases:\n- {name: \"a < b\", request: {path: /orders}, expect: {status: 200}}\n- {name: good, request: {path: /orders}, expect: {status: 401}}\n"
	args, dir := writeFiles(t, bad)
	report := filepath.Join(dir, "report.xml")
	stdout, _, err := run(t, "", append([]string{"test", "-f", samples + "securitypolicy.yaml", "-o", "junit=" + report}, args...)...)
	if !errors.Is(err, errFindings) || !strings.Contains(stdout, "2 cases, 1 failed") {
		t.Fatalf("%v\n%s", err, stdout)
	}
	content, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal(content, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Suites) != 1 || got.Suites[0].Tests != 2 || got.Suites[0].Failures != 1 {
		t.Fatalf("%+v", got)
	}
	first := got.Suites[0].Cases[0]
	if first.Name != "a < b" || first.Line != 2 || first.Failure == nil || first.Failure.Message != "status: want 200, got 401" {
		t.Errorf("%+v", first)
	}
	if got.Suites[0].Cases[1].Failure != nil {
		t.Errorf("%+v", got.Suites[0].Cases[1])
	}
}

func TestRefusedCaseFiles(t *testing.T) {
	const one = "cases:\n- {name: a, request: {path: /}, expect: {status: 200}}\n"
	for name, tt := range map[string]struct{ file, want string }{
		"unknown field":   {"cases:\n- name: a\n  requst: {path: /}\n", "0.yaml: "},
		"no expectation":  {"cases:\n- name: a\n  request: {path: /}\n", `line 2: case "a"`},
		"unknown policy":  {"policy: carts\n" + one, `no SecurityPolicy "carts"`},
		"wrong provider":  {"cases:\n- {name: a, request: {path: /, token: {provider: x}}, expect: {status: 200}}\n", `the policy has no provider "x"; it has corp`},
		"wrong path":      {"cases:\n- {name: a, request: {path: x}, expect: {status: 200}}\n", "does not start with /"},
		"wrong address":   {"cases:\n- {name: a, request: {path: /, address: x}, expect: {status: 200}}\n", "is not an address"},
		"several in file": {one + "---\n" + one, "several documents"},
	} {
		t.Run(name, func(t *testing.T) {
			args, _ := writeFiles(t, tt.file)
			stdout, stderr, err := run(t, "", append([]string{"test", "-f", samples + "securitypolicy.yaml"}, args...)...)
			if err == nil || !strings.Contains(stdout+stderr+err.Error(), tt.want) {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
		})
	}
	if _, _, err := run(t, "", "test", "-f", samples+"securitypolicy.yaml"); err == nil || !strings.Contains(err.Error(), "no file has cases") {
		t.Error(err)
	}
	if _, _, err := run(t, "", "test", "-f", samples+"cases.yaml"); err == nil || !strings.Contains(err.Error(), "no file has a SecurityPolicy; add one with -f policy.yaml") {
		t.Error(err)
	}
}

// TestInvalidWithoutClass: a policy that is not valid because the files lack its class is reported with the advice to add it.
func TestInvalidWithoutClass(t *testing.T) {
	cases, _ := writeFiles(t, "cases:\n- {name: a, request: {path: /}, expect: {status: 401}}\n")
	for name, args := range map[string][]string{
		"test": append([]string{"test", "-f", samples + "tokens.yaml"}, cases...), "explain": {"explain", "-f", samples + "tokens.yaml", "--path", "/"},
		"compile": {"compile", "-f", samples + "tokens.yaml"},
	} {
		_, stderr, err := run(t, "", args...)
		if err == nil || !strings.Contains(stderr, "the SidecarClass has no Vault") || !strings.Contains(stderr, "add the class with -f") {
			t.Errorf("%s: %v\n%s", name, err, stderr)
		}
	}
}
