package overview

import (
	appsv1 "k8s.io/api/apps/v1"

	"github.com/posterndev/postern/controllers/status"
)

// Workload is a Deployment, StatefulSet or DaemonSet.
type Workload struct {
	Namespace string
	status.Workload
	// Labels are those of its pods. Replicas is the number of pods that it wants.
	Labels   map[string]string
	Replicas int32
}

// OfDeployment returns what is needed of a Deployment.
func OfDeployment(d *appsv1.Deployment) Workload {
	return Workload{d.Namespace, status.Workload{Kind: status.Deployment, Name: d.Name}, d.Spec.Template.Labels, orOne(d.Spec.Replicas)}
}

// OfStatefulSet returns what is needed of a StatefulSet.
func OfStatefulSet(s *appsv1.StatefulSet) Workload {
	return Workload{s.Namespace, status.Workload{Kind: status.StatefulSet, Name: s.Name}, s.Spec.Template.Labels, orOne(s.Spec.Replicas)}
}

// OfDaemonSet returns what is needed of a DaemonSet.
func OfDaemonSet(d *appsv1.DaemonSet) Workload {
	return Workload{d.Namespace, status.Workload{Kind: status.DaemonSet, Name: d.Name}, d.Spec.Template.Labels, d.Status.DesiredNumberScheduled}
}

func orOne(replicas *int32) int32 {
	if replicas == nil {
		return 1
	}
	return *replicas
}
