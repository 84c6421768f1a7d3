package policy

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// TestJudgeClass: without the validating webhook, the status of a class is the only place that says what is wrong with it.
func TestJudgeClass(t *testing.T) {
	class := compile.UnknownClass()
	class.Name = "vault"
	if c := judgeClass(class, []v1alpha1.SidecarClass{*class}); c.Status != metav1.ConditionTrue {
		t.Errorf("a good class is %+v", c)
	}
	class.Spec.Vault.CABundle = "nope"
	c := judgeClass(class, []v1alpha1.SidecarClass{*class})
	if c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonInvalid || !strings.HasPrefix(c.Message, "spec.vault.caBundle: ") {
		t.Errorf("a class with a mistake in a section that no policy uses is %+v", c)
	}
}
