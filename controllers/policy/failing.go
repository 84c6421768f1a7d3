package policy

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// crashLoop is the kubelet's reason for a container that it starts again and again.
const crashLoop = "CrashLoopBackOff"

// crashing returns the statuses of the app's containers that the kubelet starts again and again, and no more of them than
// that.
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

// failing returns the first container of the app that keeps failing under Takeover, where the sidecar may be the cause: it
// has the app's port. Under Redirect it never is.
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
