package inject

import (
	"crypto/sha256"
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/posterndev/postern/controllers/render"
)

const (
	// lookedFor is longer than a webhook may take, which is 30 s at most: the second invocation for a pod comes within it.
	lookedFor = 30 * time.Second
	maxLooked = 4 << 10
)

// looked remembers the pods that were injected a moment ago, so that a second invocation for a pod, after another webhook changed
// it, does not read the policies again. A pod is known by what the API server does not change between the two: its owner's name for
// it, its labels and the sidecar's settings. Somebody who copies all of that into a new pod is compared with the policies that the
// informer holds, which are those of a few milliseconds ago.
type looked struct{ pods *cache.LRUExpireCache }

func newLooked() *looked { return &looked{cache.NewLRUExpireCache(maxLooked)} }

func (l *looked) add(namespace string, pod *corev1.Pod) {
	if key, ok := keyOf(namespace, pod); ok {
		l.pods.Add(key, nil, lookedFor)
	}
}

func (l *looked) has(namespace string, pod *corev1.Pod) bool {
	key, ok := keyOf(namespace, pod)
	if !ok {
		return false
	}
	_, ok = l.pods.Get(key)
	return ok
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
