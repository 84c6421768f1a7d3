package simulation

import "github.com/posterndev/postern/sidecar/httpkit/request"

// DefaultRule names the default of the authorization in a verdict.
const DefaultRule = "default"

// authorization is the stage whose rule decides about a request that passes.
const authorization = "authorization"

// Verdict is what decided about a request.
type Verdict struct {
	// Stage refused the request, responded to it, or let it pass by Rule.
	Stage string
	// Rule is empty if no rule decided, as for a malformed request.
	Rule string
	// Code is that of the refusal; empty for none.
	Code string
	// Status is that of the refusal, or 0.
	Status int
}

// Verdict returns what decided: the refusal that the client sees, or the authorization rule of a request that passed.
func (r *Result) Verdict() Verdict {
	var passed Verdict
	for _, s := range r.Steps {
		switch {
		case s.Err != nil:
			return Verdict{Stage: s.Stage, Rule: refusing(s), Code: string(s.Err.Code), Status: s.Err.Status}
		case s.Outcome == request.Responded && s.Stage != errorsStage:
			return Verdict{Stage: s.Stage, Rule: passed.Rule}
		case s.Stage == authorization && len(s.Notes) > 0:
			passed = Verdict{Stage: s.Stage, Rule: named(s.Notes[0].Rule)}
		}
	}
	return passed
}

// errorsStage writes the refusals of the stages after it.
const errorsStage = "errors"

// refusing returns the rule that refuses in s, or "". Of several rules with one joint refusal, such as those of a password, it is the first.
func refusing(s *request.Step) string {
	for _, joint := range []bool{false, true} {
		for _, d := range s.Decisions {
			if d.Shadow || d.Err == nil || d.Err != s.Err && !(joint && d.Err.Code == s.Err.Code) {
				continue
			}
			if s.Stage == authorization {
				return named(d.Rule)
			}
			return d.Rule
		}
	}
	return ""
}

func named(rule string) string {
	if rule == "" {
		return DefaultRule
	}
	return rule
}
