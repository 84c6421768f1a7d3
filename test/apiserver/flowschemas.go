package apiserver

import (
	flowv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// flowSchemas returns those of the chart: the lease and the reads for new pods do not wait for the operator's other requests.
func flowSchemas() []client.Object {
	subjects := []flowv1.Subject{{Kind: flowv1.SubjectKindUser, User: &flowv1.UserSubject{Name: operatorUser}}}
	schema := func(name, level string, precedence int32, by flowv1.FlowDistinguisherMethodType, rules ...flowv1.ResourcePolicyRule) client.Object {
		return &flowv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: flowv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowv1.PriorityLevelConfigurationReference{Name: level}, MatchingPrecedence: precedence,
			DistinguisherMethod: &flowv1.FlowDistinguisherMethod{Type: by},
			Rules:               []flowv1.PolicyRulesWithSubjects{{Subjects: subjects, ResourceRules: rules}},
		}}
	}
	rule := func(group, resource, namespace string, verbs ...string) flowv1.ResourcePolicyRule {
		return flowv1.ResourcePolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs, Namespaces: []string{namespace}}
	}
	return []client.Object{
		schema("postern-operator-lease", "leader-election", 800, flowv1.FlowDistinguisherMethodByUserType,
			rule("coordination.k8s.io", "leases", Namespace, "get", "create", "update")),
		schema("postern-operator-reviews", "workload-high", 900, flowv1.FlowDistinguisherMethodByNamespaceType,
			rule("postern.dev", "securitypolicies", flowv1.NamespaceEvery, "get", "list"), rule("", "configmaps", flowv1.NamespaceEvery, "get")),
	}
}
