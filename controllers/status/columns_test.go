package status

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// shown is the condition that each column of kubectl get shows.
var shown = map[string]string{
	"Ready": v1alpha1.ConditionReady, "Accepted": v1alpha1.ConditionAccepted, "Programmed": v1alpha1.ConditionProgrammed,
	"Enforced": v1alpha1.ConditionEnforced, "Reason": v1alpha1.ConditionEnforced,
}

// TestColumns checks that the columns, which know a condition by its index, show the condition that they are named for, whatever the
// order was before, and that none searches by type: that would double what a new pod costs the API server.
func TestColumns(t *testing.T) {
	b, err := os.ReadFile("../../config/crd/bases/postern.dev_securitypolicies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(b, crd); err != nil {
		t.Fatal(err)
	}
	before := input(good("a"))
	before.Policy.Status.Conditions = []metav1.Condition{{Type: "Old"}, {Type: v1alpha1.ConditionStalled}, {Type: v1alpha1.ConditionEnforced}}
	conflict := input(good("a"))
	conflict.Conflict = &Conflict{Older: "base", Pod: "a"}
	path := regexp.MustCompile(`^\.status\.conditions\[(\d+)\]\.(status|reason)$`)
	for name, in := range map[string]Input{"new": input(), "another order before": before, "in conflict": conflict} {
		conditions, found := Of(in).Conditions, 0
		for _, column := range crd.Spec.Versions[0].AdditionalPrinterColumns {
			want, ok := shown[column.Name]
			if !ok {
				continue
			}
			found++
			match := path.FindStringSubmatch(column.JSONPath)
			if match == nil {
				t.Fatalf("column %s has the path %s", column.Name, column.JSONPath)
			}
			if i, _ := strconv.Atoi(match[1]); i >= len(conditions) || conditions[i].Type != want {
				t.Errorf("%s: column %s shows the condition at %d, which is not %s", name, column.Name, i, want)
			}
		}
		if found != len(shown) || slices.ContainsFunc(conditions, func(c metav1.Condition) bool { return c.Type == "Old" }) {
			t.Errorf("%s: %d columns, conditions %v", name, found, conditions)
		}
	}
}
