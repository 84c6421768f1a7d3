package compile_test

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// TestExpressionsAreRefused: a policy with a condition that no sidecar evaluates is not accepted.
func TestExpressionsAreRefused(t *testing.T) {
	var spec v1alpha1.SecurityPolicySpec
	if err := yaml.UnmarshalStrict([]byte(ruled(`expression: "true"`)), &spec); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, &spec, refusal{"spec.authorization.rules[0].expression", "write claims, scopes or headers"})
}
