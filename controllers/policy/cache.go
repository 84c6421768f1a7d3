package policy

import (
	"crypto/ed25519"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/deliver"
	"github.com/posterndev/postern/controllers/render"
)

// CacheOptions returns options that keep the informers small: they hold only the fields of pods that this package and deliver
// read, and only the ConfigMaps that have documents, and of those no data that key did not sign, and only the
// MutatingWebhookConfiguration of that name. transform is that of policies.
func CacheOptions(key ed25519.PublicKey, transform toolscache.TransformFunc, webhook string) (cache.Options, error) {
	managed, err := labels.NewRequirement(render.PolicyLabel, selection.Exists, nil)
	if err != nil {
		return cache.Options{}, err
	}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}:                               {Transform: trimPod},
			&v1alpha1.SecurityPolicy{}:                  {Transform: transform},
			&v1alpha1.TokenRevocation{}:                 {Transform: trimMetadata},
			&corev1.ConfigMap{}:                         {Label: labels.NewSelector().Add(*managed), Transform: trimConfigMap(key)},
			&admissionv1.MutatingWebhookConfiguration{}: {Field: fields.OneTermEqualSelector("metadata.name", webhook)},
		},
	}, nil
}

// trimMetadata drops the annotations, which users decide the size of and nobody reads.
func trimMetadata(object any) (any, error) {
	if o, ok := object.(client.Object); ok {
		o.SetManagedFields(nil)
		o.SetAnnotations(nil)
	}
	return object, nil
}

// trimConfigMap drops what is not a document that key signed for the policy of the ConfigMap: anyone may create ConfigMaps with the
// label, or add data to one. Entry dropped stands for the rest, so that the reconciler sees that the ConfigMap is not as it was
// written.
func trimConfigMap(key ed25519.PublicKey) toolscache.TransformFunc {
	reader := render.Reader{Key: key}
	return func(object any) (any, error) {
		cm, ok := object.(*corev1.ConfigMap)
		if !ok {
			return object, nil
		}
		cm.ManagedFields, cm.Annotations = nil, nil
		kept := map[string]string{}
		if policy, ok := render.PolicyIn(cm); ok && render.ConfigMapName(policy) == cm.Name {
			kept = documentsIn(cm, reader, policy)
		}
		if len(kept) < len(cm.Data)+len(cm.BinaryData) {
			kept[dropped] = ""
		}
		cm.Data, cm.BinaryData = kept, nil
		return cm, nil
	}
}

// dropped is the key of an entry that stands for data that the cache does not hold.
const dropped = "dropped"

// documentsIn returns the ConfigMap's documents and their signatures. If they are not signed for the policy, it returns a document
// with nothing but the policy's name, by which the ConfigMap's events reach the policy.
func documentsIn(cm *corev1.ConfigMap, reader render.Reader, policy string) map[string]string {
	out := map[string]string{}
	documents, err := reader.Open(cm, policy)
	if err != nil {
		out[compiled.DocumentKey] = fmt.Sprintf(`{"name":%q}`, policy)
	}
	for i := range documents {
		document, signature := compiled.DocumentKeys(documents[i].Signed.Version())
		out[document], out[signature] = cm.Data[document], cm.Data[signature]
	}
	return out
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
