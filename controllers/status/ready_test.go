package status

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

func TestReadyAndStalled(t *testing.T) {
	for name, tc := range map[string]struct {
		change                 func(*Input)
		wantReady, wantStalled string
	}{
		"without pods":      {func(in *Input) { in.Pods = nil }, "True/Ready", "False/NotStalled"},
		"pods are outdated": {func(in *Input) { in.Pods[0].Report = nil }, "True/Ready", "False/NotStalled"},
		"invalid": {func(in *Input) {
			in.Findings = []compile.Finding{{Severity: compile.Error, Field: "spec", Message: "m"}}
		},
			"False/Invalid", "True/Invalid"},
		"in conflict":     {func(in *Input) { in.Conflict = &Conflict{Older: "x", Pod: "p"} }, "False/Conflicted", "True/Conflicted"},
		"no class yet":    {func(in *Input) { in.ClassError = errors.New("none") }, "False/SidecarClassNotFound", "False/NotStalled"},
		"no label yet":    {func(in *Input) { in.NamespaceEnabled = false }, "False/InjectionDisabled", "False/NotStalled"},
		"not written yet": {func(in *Input) { in.WriteError = errors.New("quota") }, "False/Pending", "False/NotStalled"},
		"a missing right": {func(in *Input) { in.MissingRights = []string{"create tokenreviews.authentication.k8s.io"} }, "False/MissingRights", "False/NotStalled"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(good("a"))
			tc.change(&in)
			conditions := Of(in).Conditions
			for kind, want := range map[string]string{v1alpha1.ConditionReady: tc.wantReady, v1alpha1.ConditionStalled: tc.wantStalled} {
				c := meta.FindStatusCondition(conditions, kind)
				if c == nil || string(c.Status)+"/"+c.Reason != want || c.ObservedGeneration != in.Policy.Generation {
					t.Errorf("%s is %+v, want %s", kind, c, want)
				}
			}
		})
	}
}
