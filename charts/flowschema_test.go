package charts

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestFlowSchemas checks that the lease has a priority level of its own, and that reads for pods are fair between namespaces.
func TestFlowSchemas(t *testing.T) {
	levels, flows := map[string]string{}, map[string]string{}
	for _, o := range decode(t, run(t, "helm", "template", release, chart, "--namespace", namespace)) {
		if o.GetKind() == "FlowSchema" {
			levels[o.GetName()], _, _ = unstructured.NestedString(o.Object, "spec", "priorityLevelConfiguration", "name")
			flows[o.GetName()], _, _ = unstructured.NestedString(o.Object, "spec", "distinguisherMethod", "type")
		}
	}
	if levels["postern-operator-lease"] != "leader-election" || levels["postern-operator-reviews"] != "workload-high" || flows["postern-operator-reviews"] != "ByNamespace" {
		t.Errorf("the levels are %v, the flows %v", levels, flows)
	}
	for _, o := range decode(t, run(t, "helm", "template", release, chart, "--set", "operator.flowSchemas.enabled=false")) {
		if o.GetKind() == "FlowSchema" {
			t.Errorf("there is FlowSchema %s", o.GetName())
		}
	}
}
