package policy

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// crashLoop is the kubelet's reason for a container that it restarts repeatedly.
const crashLoop = "CrashLoopBackOff"

// crashing returns the statuses of the app's containers that the kubelet restarts repeatedly, reduced to their names and that
// reason.
func crashing(pod *corev1.Pod) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason == crashLoop {
			out = append(out, corev1.ContainerStatus{
				Name: c.Name, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: crashLoop}},
			})
		}
	}
	return out
}

// failing returns the name of the app's first container that keeps failing under Takeover; empty if there is none. Under
// Takeover the sidecar may be the cause, because it listens on the app's port. Under Redirect it never is.
func failing(pod *corev1.Pod) string {
	if !takenOver(pod) {
		return ""
	}
	for _, c := range crashing(pod) {
		return c.Name
	}
	return ""
}

func takenOver(pod *corev1.Pod) bool {
	for _, c := range pod.Spec.InitContainers {
		if c.Name != render.SidecarName {
			continue
		}
		for _, e := range c.Env {
			if e.Name == compiled.EnvInterception {
				return e.Value == string(v1alpha1.InterceptTakeover)
			}
		}
	}
	return false
}
