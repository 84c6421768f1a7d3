package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/simulation"
)

// explanation is the text of postern explain.
type explanation struct {
	policy  *compiled.Policy
	note    string
	request simulation.Request
	result  *simulation.Result
	// hints say what this machine lacks.
	hints []string
}

func (e explanation) print(w io.Writer) {
	line := func(format string, args ...any) { fmt.Fprintln(w, escaped(fmt.Sprintf(format, args...))) }
	line("%s %s", e.request.Method, pathOf(e.request.Path))
	line("policy %s/%s, revision %d, %s", e.policy.Namespace, e.policy.Name, e.policy.Revision, e.note)
	fmt.Fprintln(w)
	for i, s := range e.result.Steps {
		line("%2d %-20s %s", i+1, s.Stage, outcomeOf(s))
		for _, detail := range details(s) {
			line("   %-20s %s", "", detail)
		}
	}
	fmt.Fprintln(w)
	verdict := e.result.Verdict()
	action := "passed"
	switch {
	case verdict.Code != "":
		action = "refused"
	case e.result.App == nil:
		action = "answered by the sidecar"
	}
	line("%s: decided by %s", action, decidedBy(verdict))
	for _, hint := range e.hints {
		line("%s", hint)
	}
	if e.result.Aborted {
		line("the response ends before its end")
	}
	fmt.Fprintln(w)
	line("HTTP/1.1 %d %s", e.result.Status, http.StatusText(e.result.Status))
	for _, field := range shownFields(e.result.Header) {
		line("%s", field)
	}
}

// pathOf returns the path without the query, which may have secrets.
func pathOf(path string) string {
	path, _, query := strings.Cut(path, "?")
	if query {
		path += "?…"
	}
	return path
}

// outcomeOf is the first line about a stage.
func outcomeOf(s *request.Step) string {
	switch s.Outcome {
	case request.Unused:
		return "skipped: the policy does not use it"
	case request.NotReached:
		return "not reached"
	case request.Refusing:
		return fmt.Sprintf("refused: %d %s", s.Err.Status, s.Err.Code)
	case request.Responded:
		return "responded"
	}
	if len(s.Added)+len(s.Removed)+len(s.Changed) > 0 {
		return "changed the request, and passed it"
	}
	return "passed"
}

// details are the other lines about a stage.
func details(s *request.Step) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, change := range []struct {
		verb  string
		names []string
	}{{"added", s.Added}, {"removed", s.Removed}, {"changed", s.Changed}} {
		if len(change.names) > 0 {
			add("%s %s", change.verb, strings.Join(change.names, ", "))
		}
	}
	if s.Verified != "" {
		add("a token of the provider %q is valid", s.Verified)
	}
	if s.Credential != nil {
		add("no identity: %s", s.Credential.Error())
	}
	for _, n := range s.Notes {
		add("%s: %s", ruleText(n.Rule), n.Text)
	}
	for _, d := range s.Decisions {
		verb := "refuses"
		if d.Shadow {
			verb = "would refuse (shadow mode)"
		}
		add("%s %s: %s", ruleText(d.Rule), verb, d.Err.Code)
	}
	return lines
}

func ruleText(rule string) string {
	if rule == "" {
		return simulation.DefaultRule
	}
	return fmt.Sprintf("rule %q", rule)
}

// shownFields are the fields of the response, sorted, without the values of cookies.
func shownFields(h http.Header) (lines []string) {
	for name, values := range h {
		for _, v := range values {
			if name == "Set-Cookie" {
				cookie, attributes, _ := strings.Cut(v, ";")
				cookie, _, _ = strings.Cut(cookie, "=")
				v = cookie + "=…;" + attributes
			}
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	return lines
}
