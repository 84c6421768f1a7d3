package deliver

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// BoundPolicy returns the name of the policy whose documents the pod's sidecar runs; false if the pod has no sidecar. It reads
// the container's environment, which is immutable once the pod exists, and never annotations.
func BoundPolicy(pod *corev1.Pod) (string, bool) {
	for i := range pod.Spec.InitContainers {
		if c := &pod.Spec.InitContainers[i]; c.Name == render.SidecarName {
			for _, e := range c.Env {
				if e.Name == compiled.EnvPolicy && e.Value != "" {
					return e.Value, true
				}
			}
		}
	}
	return "", false
}
