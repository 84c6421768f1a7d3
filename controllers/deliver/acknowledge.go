package deliver

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
)

// acknowledgeTimeout bounds the write of one report, without the wait for others.
const acknowledgeTimeout = 5 * time.Second

// acknowledger stores reports as pod conditions.
type acknowledger struct {
	pods  client.SubResourceWriter
	slots chan struct{}
	now   func() time.Time
}

// patch returns the change that makes report the pod's condition; nil if it is. It changes only this condition, and names the pod's UID,
// so that it cannot change a later pod of the same name.
func (a *acknowledger) patch(pod *corev1.Pod, report compiled.Report) ([]byte, error) {
	old := sidecarCondition(pod)
	condition, err := newCondition(report, old, a.now())
	if err != nil {
		return nil, err
	}
	if old != nil && *old == condition {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   map[string]any{"conditions": []any{condition}},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding condition of pod %q: %w", pod.Name, err)
	}
	return patch, nil
}

// write patches the pod's status. It waits for a slot until wait ends.
func (a *acknowledger) write(ctx, wait context.Context, pod *corev1.Pod, patch []byte) error {
	if err := acquire(wait, a.slots); err != nil {
		return fmt.Errorf("waiting to acknowledge pod %q: %w", pod.Name, err)
	}
	defer release(a.slots)
	ctx, cancel := context.WithTimeout(ctx, acknowledgeTimeout)
	defer cancel()
	target := &corev1.Pod{}
	target.Namespace, target.Name = pod.Namespace, pod.Name
	if err := a.pods.Patch(ctx, target, client.RawPatch(types.StrategicMergePatchType, patch)); err != nil {
		return fmt.Errorf("patching status of pod %q: %w", pod.Name, err)
	}
	return nil
}

// acquire takes one of the slots, or returns ctx's error.
func acquire(ctx context.Context, slots chan struct{}) error {
	select {
	case slots <- struct{}{}:
		return nil
	default: // of a free slot and an ended ctx, select would choose either
	}
	select {
	case slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func release(slots chan struct{}) { <-slots }
