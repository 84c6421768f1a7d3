package status

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// TestRevocationIsReady: an expired revocation that stays in a repository must not hold up helm --wait.
func TestRevocationIsReady(t *testing.T) {
	pending := func(c *Carrier) { c.Since = 0 }
	for name, tc := range map[string]struct {
		carriers               []Carrier
		wantReady, wantStalled string
	}{
		"in the document, and no pod has it yet": {[]Carrier{carrier("a", 1)}, "True/Ready", "False/NotStalled"},
		"not in the document yet":                {[]Carrier{with(carrier("a", 1), pending)}, "False/NotProgrammed", "False/NotStalled"},
		"expired":                                {[]Carrier{with(carrier("a"), became(v1alpha1.ReasonExpired))}, "True/Expired", "False/NotStalled"},
		"no policy yet":                          {nil, "False/NoPolicy", "False/NotStalled"},
		"no room":                                {[]Carrier{with(carrier("a"), became(v1alpha1.ReasonTooMany))}, "False/TooMany", "True/TooMany"},
	} {
		t.Run(name, func(t *testing.T) {
			got := OfRevocation(RevocationInput{Revocation: &v1alpha1.TokenRevocation{}, Carriers: tc.carriers, Now: time.Unix(1e9, 0)})
			wantPair(t, got.Conditions, tc.wantReady, tc.wantStalled)
		})
	}
}

func TestClassIsReady(t *testing.T) {
	accepted := metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAccepted}
	wantPair(t, OfClass(accepted), "True/Ready", "False/NotStalled")
	accepted.Status, accepted.Reason = metav1.ConditionFalse, v1alpha1.ReasonConflicted
	wantPair(t, OfClass(accepted), "False/Conflicted", "True/Conflicted")
	accepted.Reason = v1alpha1.ReasonInvalid
	wantPair(t, OfClass(accepted), "False/Invalid", "True/Invalid")
}

func wantPair(t *testing.T, conditions []metav1.Condition, wantReady, wantStalled string) {
	t.Helper()
	for kind, want := range map[string]string{v1alpha1.ConditionReady: wantReady, v1alpha1.ConditionStalled: wantStalled} {
		c := meta.FindStatusCondition(conditions, kind)
		if c == nil || string(c.Status)+"/"+c.Reason != want {
			t.Errorf("%s is %+v, want %s", kind, c, want)
		}
	}
}
