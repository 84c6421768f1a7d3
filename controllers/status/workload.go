package status

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Workload is the owner of a pod; the zero value stands for a pod without one.
type Workload struct {
	Kind, Name string
}

// Kinds that can be restarted.
const (
	Deployment  = "Deployment"
	StatefulSet = "StatefulSet"
	DaemonSet   = "DaemonSet"
)

// WorkloadOf returns the workload that owns the pod. A Deployment owns its pods through a ReplicaSet, whose name is the
// Deployment's and the pod-template-hash.
func WorkloadOf(pod *corev1.Pod) Workload {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return Workload{}
	}
	if hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; owner.Kind == "ReplicaSet" && hash != "" {
		if name, ok := strings.CutSuffix(owner.Name, "-"+hash); ok {
			return Workload{Kind: Deployment, Name: name}
		}
	}
	if strings.HasPrefix(owner.APIVersion, "apps/") || owner.Kind == "Job" {
		return Workload{Kind: owner.Kind, Name: owner.Name}
	}
	return Workload{Kind: owner.Kind + "." + group(owner.APIVersion), Name: owner.Name}
}

// Restartable reports whether kubectl rollout restart, and package rollout, can restart the workload.
func (w Workload) Restartable() bool {
	return w.Kind == Deployment || w.Kind == StatefulSet || w.Kind == DaemonSet
}

// String returns the workload in kubectl's form, such as deployment/orders.
func (w Workload) String() string { return strings.ToLower(w.Kind) + "/" + w.Name }

func group(apiVersion string) string {
	g, _, ok := strings.Cut(apiVersion, "/")
	if !ok {
		return "core"
	}
	return g
}

// Inactive reports whether the pod is finished or being deleted: it receives no traffic that a policy could apply to.
func Inactive(pod *corev1.Pod) bool { return pod.DeletionTimestamp != nil || Finished(pod) }

// Finished reports whether all of the pod's containers have ended and will not restart.
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
