package policy

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

// CacheOptions returns options that keep the informers small: they hold only the fields of pods that this package and deliver
// read, and only the ConfigMaps that have documents.
func CacheOptions() (cache.Options, error) {
	managed, err := labels.NewRequirement(render.PolicyLabel, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, err
	}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:       {Transform: trimPod},
			&corev1.ConfigMap{}: {Label: labels.NewSelector().Add(*managed)},
		},
	}, nil
}

// keptEnv lists the environment variables of a sidecar that are read.
var keptEnv = []string{compiled.EnvPolicy, compiled.EnvInterception}

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
	for _, c := range pod.Spec.InitContainers {
		if c.Name == render.SidecarName {
			env := slices.DeleteFunc(slices.Clone(c.Env), func(e corev1.EnvVar) bool { return !slices.Contains(keptEnv, e.Name) })
			trimmed.Spec.InitContainers = []corev1.Container{{Name: c.Name, Env: slices.Clip(env)}}
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == deliver.ConditionSidecar {
			trimmed.Status.Conditions = []corev1.PodCondition{c}
		}
	}
	return trimmed, nil
}
