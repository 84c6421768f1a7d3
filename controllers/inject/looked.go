package inject

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/posterndev/postern/controllers/render"
)

const (
	// lookedFor is how long the answer for a pod holds for the second invocation. Webhooks that take longer cost another look.
	lookedFor = 2 * time.Second
	maxLooked = 4 << 10
)

// looked remembers the pods that were injected a moment ago, so that a second invocation for a pod, after another webhook changed
// it, does not read the policies again. A pod is known by what the API server does not change between the two: its owner's name for
// it, its labels and the sidecar's settings. A new pod has no UID yet.
//
// Somebody who copies all of that into a new pod gets the policy that the copied pod got at most lookedFor before, as if the copy had
// been created then. Other labels, another policy and any later copy are looked at: a pod that was not looked at does not count.
type looked struct{ pods *cache.LRUExpireCache }

func newLooked() *looked { return &looked{cache.NewLRUExpireCache(maxLooked)} }

// add remembers the policy that was found for the injected pod.
func (l *looked) add(namespace string, pod *corev1.Pod, policy types.UID) {
	if key, ok := keyOf(namespace, pod); ok {
		l.pods.Add(key, policy, lookedFor)
	}
}

// policy returns the policy that was found for the pod a moment ago; ok is false if it was not looked at.
func (l *looked) policy(namespace string, pod *corev1.Pod) (policy types.UID, ok bool) {
	key, ok := keyOf(namespace, pod)
	if !ok {
		return "", false
	}
	found, _ := l.pods.Get(key)
	policy, ok = found.(types.UID)
	return policy, ok
}

// keyOf returns false for a pod without a sidecar.
func keyOf(namespace string, pod *corev1.Pod) (key [sha256.Size]byte, ok bool) {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.Name != render.SidecarName {
			continue
		}
		settings := map[string]string{}
		for _, e := range c.Env {
			settings[e.Name] = e.Value
		}
		b, err := json.Marshal([]any{namespace, pod.Name, pod.GenerateName, pod.Labels, settings})
		return sha256.Sum256(b), err == nil
	}
	return key, false
}
