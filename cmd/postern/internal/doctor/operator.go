package doctor

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// OperatorName is the name of the operator's Deployment, Service and service account, and WebhookName that of its configurations.
const (
	OperatorName = "postern-operator"
	WebhookName  = "postern"
)

func operator(f *Facts) []Finding {
	if f.Operator.Err != nil {
		return unread(f.Operator.Err, "get deployments.apps in namespace "+f.OperatorNamespace)
	}
	d := f.Operator.Value
	if d == nil {
		return []Finding{problem("install Postern, or name its namespace with --operator-namespace",
			"there is no Deployment %s in namespace %s", OperatorName, f.OperatorNamespace).with(upgrade)}
	}
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	image, ready := operatorImage(d.Spec.Template.Spec.Containers), d.Status.ReadyReplicas
	look := []string{
		fmt.Sprintf("kubectl get pods -n %s -l app.kubernetes.io/component=operator", f.OperatorNamespace),
		fmt.Sprintf("kubectl logs -n %s deployment/%s --tail=50", f.OperatorNamespace, OperatorName),
	}
	switch {
	case wanted == 0:
		return []Finding{problem("", "the operator is scaled to 0: no pods can be created in labelled namespaces").with(
			fmt.Sprintf("kubectl scale deployment/%s --replicas=2 -n %s", OperatorName, f.OperatorNamespace))}
	case ready == 0:
		return []Finding{problem("", "the operator (%s) has no ready pod of %d: no pods can be created in labelled namespaces", image, wanted).with(look...)}
	case ready < wanted:
		return []Finding{warning("", "the operator (%s) has %d of %d pods ready", image, ready, wanted).with(look...)}
	case wanted == 1:
		return []Finding{warning("set replicas: 2 in the chart's values", "the operator (%s) has one replica: while it restarts, no pods can be created in labelled namespaces", image)}
	}
	return fine("the operator (%s) has %d of %d pods ready", image, ready, wanted)
}

func operatorImage(containers []corev1.Container) string {
	for _, c := range containers {
		if c.Name == "operator" {
			return c.Image
		}
	}
	return "of an unknown image"
}

func operatorRights(f *Facts) []Finding {
	restore := "compare ClusterRole postern-operator and its binding with the chart's"
	for i := range f.Policies.Value { // the operator says what it misses
		for _, c := range f.Policies.Value[i].Status.Conditions {
			if c.Type == v1alpha1.ConditionProgrammed && c.Reason == v1alpha1.ReasonMissingRights {
				return []Finding{problem(restore, "%s", c.Message).with("kubectl describe clusterrole postern-operator", upgrade)}
			}
		}
	}
	if f.OperatorRights.Err != nil {
		if f.Policies.Err == nil && len(f.Policies.Value) > 0 {
			return fine("no policy says that the operator lacks a right")
		}
		return unread(f.OperatorRights.Err, "create subjectaccessreviews.authorization.k8s.io")
	}
	var missing []string
	for _, r := range f.OperatorRights.Value {
		if !r.Allowed {
			missing = append(missing, r.Name)
		}
	}
	if len(missing) > 0 {
		return []Finding{problem(restore, "the operator may not %s", strings.Join(missing, ", ")).with("kubectl describe clusterrole postern-operator", upgrade)}
	}
	return fine("the operator has the %d rights that it needs", len(f.OperatorRights.Value))
}

func rights(f *Facts) []Finding {
	if f.Rights.Err != nil {
		return unread(f.Rights.Err, "create selfsubjectaccessreviews.authorization.k8s.io")
	}
	var out []Finding
	for _, r := range f.Rights.Value {
		if !r.Allowed {
			out = append(out, Finding{Level: Warning, What: fmt.Sprintf("you may not %s, which is needed for %s", r.Name, r.For)})
		}
	}
	if len(out) == 0 {
		out = fine("you have the rights for all commands")
	}
	if narrow := f.narrow(); len(narrow) > 0 {
		out = append(out, Finding{Level: NotChecked, What: fmt.Sprintf("you may not list %s in all namespaces: only namespace %s was looked at", strings.Join(narrow, ", "), f.Namespace)})
	}
	return out
}

// narrow names the resources of which only one namespace could be read.
func (f *Facts) narrow() []string {
	var out []string
	for _, r := range []struct {
		name   string
		narrow bool
	}{
		{"namespaces", f.Namespaces.Narrow}, {"securitypolicies.postern.dev", f.Policies.Narrow}, {"pods", f.Pods.Narrow}, {"services", f.Services.Narrow},
		{"networkpolicies.networking.k8s.io", f.NetworkPolicies.Narrow},
	} {
		if r.narrow {
			out = append(out, r.name)
		}
	}
	return out
}
