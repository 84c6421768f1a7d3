package policy

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

// CacheOptions returns options that keep the informers small: they hold only the fields of pods that this package and deliver
// read, only the ConfigMaps that have documents, and only the MutatingWebhookConfiguration of that name.
func CacheOptions(webhook string) (cache.Options, error) {
	managed, err := labels.NewRequirement(render.PolicyLabel, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, err
	}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:       {Transform: trimPod},
			&corev1.ConfigMap{}: {Label: labels.NewSelector().Add(*managed)},
			&admissionv1.MutatingWebhookConfiguration{}: {Field: fields.OneTermEqualSelector("metadata.name", webhook)},
		},
	}, nil
}

// trimPod drops the fields of a pod that are never read, which are most of them.
func trimPod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	trimmed := &corev1.Pod{
		TypeMeta: pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			Labels: pod.Labels, OwnerReferences: pod.OwnerReferences, DeletionTimestamp: pod.DeletionTimestamp,
			CreationTimestamp: pod.CreationTimestamp,
		},
		Status: corev1.PodStatus{Phase: pod.Status.Phase, ContainerStatuses: crashing(pod)},
	}
	if hash, ok := pod.Annotations[render.InjectionAnnotation]; ok {
		trimmed.Annotations = map[string]string{render.InjectionAnnotation: hash}
	}
	trimmed.Spec.InitContainers = render.Judged(pod.Spec.InitContainers)
	for _, c := range pod.Status.Conditions {
		if c.Type == deliver.ConditionSidecar {
			trimmed.Status.Conditions = []corev1.PodCondition{c}
		}
	}
	return trimmed, nil
}
