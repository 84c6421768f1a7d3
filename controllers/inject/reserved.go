package inject

import (
	"errors"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/controllers/render"
)

// unselected returns a reason to refuse a pod that no policy selects; nil if it may run without a sidecar.
func unselected(pod *corev1.Pod) error {
	var refusal *Refusal
	if err := refuseReserved(pod); errors.As(err, &refusal) {
		return refusef("no policy selects this pod, and %s", refusal.Message)
	}
	return nil
}

// refuseReserved returns a reason to refuse a pod that no policy selects: it has parts with names of the sidecar's, or its
// annotations. Such a container is not the sidecar, and tools and people would take it for one. It may also be a sidecar that an
// earlier invocation of the webhook added: then another webhook has changed the pod's labels, and the pod is refused as well,
// because nobody decided which policy it has.
func refuseReserved(pod *corev1.Pod) error {
	if err := refuseNames(pod, Input{}); err != nil {
		return err
	}
	for _, name := range []string{render.PolicyAnnotation, render.InjectionAnnotation} {
		if _, ok := pod.Annotations[name]; ok {
			return refusef("its annotation %q is reserved for pods with a sidecar: remove the annotation, "+
				"or give the pod the labels that the policy selects", name)
		}
	}
	return nil
}
