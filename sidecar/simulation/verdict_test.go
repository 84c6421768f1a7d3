package simulation

import (
	"testing"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
	"github.com/posterndev/postern/sidecar/httpkit/request"
)

// A password that fails several rules gets one refusal with all of them, which is none of the recorded ones.
func TestVerdictNamesTheFirstRuleOfAJointRefusal(t *testing.T) {
	t.Parallel()
	refused := func() *httperr.Error { return &httperr.Error{Status: 422, Code: "password-refused"} }
	step := &request.Step{Stage: "password-policy", Err: refused(), Decisions: []request.Decision{
		{Rule: "too-short", Err: refused(), Shadow: true},
		{Rule: "other", Err: &httperr.Error{Status: 503, Code: "password-check-unavailable"}},
		{Rule: "common", Err: refused()},
		{Rule: "breached", Err: refused()},
	}}
	got := (&Result{Steps: []*request.Step{step}}).Verdict()
	if want := (Verdict{Stage: "password-policy", Rule: "common", Code: "password-refused", Status: 422}); got != want {
		t.Errorf("verdict is %+v, want %+v", got, want)
	}
}
