// Package rollout restarts the workloads of pods that run without the sidecar, or with an outdated one, for policies with
// rollout: Automatic. It restarts one workload of a policy at a time, and each once for the same reason. It reports the
// workloads that it cannot restart, so that a user can.
package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/controllers/status"
)

const (
	// RestartedAtAnnotation, on the pod template, is what makes the workload replace its pods.
	RestartedAtAnnotation = "postern.dev/restarted-at"
	// RestartedForAnnotation, on the workload, is the injection hash that it was restarted for. It is restarted once for
	// each hash.
	RestartedForAnnotation = "postern.dev/restarted-for"
)

// Request is one policy's pods, by workload.
type Request struct {
	Namespace string
	// Hash is the injection hash that the pods should have.
	Hash string
	// Workloads own the pods that the policy applies to; true for those with outdated pods.
	Workloads map[status.Workload]bool
	// Refused returns why pods of the template would not be admitted; nil if they would. A workload whose pods would be
	// refused is not restarted: it would lose its running pods.
	Refused func(template *corev1.PodTemplateSpec) error
}

// Outcome is the result of a step.
type Outcome struct {
	// Restarted is the workload that this step restarted; the zero Workload if none.
	Restarted status.Workload
	// Waiting says that another step is due later, even if no pod changes.
	Waiting bool
	// Notes say what the operator does about workloads with outdated pods.
	Notes map[status.Workload]string
}

// Restarter restarts workloads. Reader reads from the API server, not from a cache; Writer needs only the right to patch.
type Restarter struct {
	Reader client.Reader
	Writer client.Writer
	Now    func() time.Time
}

// Step advances a policy's rollout: it waits for the workload that is being restarted, or restarts the next one. While a
// rollout does not finish, no other workload is restarted.
func (r *Restarter) Step(ctx context.Context, request Request) (Outcome, error) {
	out := Outcome{Notes: map[status.Workload]string{}}
	var candidates []status.Workload
	found := map[status.Workload]progress{}
	for _, w := range ordered(request.Workloads) {
		p, err := read(ctx, r.Reader, request.Namespace, w)
		if apierrors.IsNotFound(err) {
			continue // its pods are being deleted
		}
		if err != nil {
			return Outcome{}, err
		}
		if err := request.Refused(p.template); err != nil && p.held == "" {
			p.held = "its new pods would be refused: " + err.Error()
		}
		stale, mine := request.Workloads[w], p.object.GetAnnotations()[RestartedForAnnotation] == request.Hash
		switch {
		case mine && !p.done && p.held == "":
			out.Waiting = true
			out.Notes[w] = "the operator restarted " + w.String() + " and waits for its rollout"
		case stale && mine:
			out.Notes[w] = "the operator restarted " + w.String() + " once, which did not help: look at its pods' events"
		case stale && p.held != "":
			out.Notes[w] = "the operator does not restart " + w.String() + ": " + p.held
		case stale && !p.done:
			out.Waiting = true
			out.Notes[w] = "the operator will restart " + w.String() + " when its current rollout is complete"
		case stale:
			candidates, found[w] = append(candidates, w), p
			out.Notes[w] = "the operator will restart " + w.String() + " after other workloads"
		}
	}
	if out.Waiting || len(candidates) == 0 {
		return out, nil
	}
	next := candidates[0]
	if err := r.restart(ctx, found[next].object, request.Hash); err != nil {
		return Outcome{}, fmt.Errorf("restarting %s in namespace %q: %w", next, request.Namespace, err)
	}
	out.Restarted, out.Waiting = next, true
	out.Notes[next] = "the operator restarted " + next.String() + " and waits for its rollout"
	return out, nil
}

// restart changes the pod template, unless the workload was changed after it was read.
func (r *Restarter) restart(ctx context.Context, object client.Object, hash string) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{
			"resourceVersion": object.GetResourceVersion(),
			"annotations":     map[string]string{RestartedForAnnotation: hash},
		},
		"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
			"annotations": map[string]string{RestartedAtAnnotation: r.Now().UTC().Format(time.RFC3339)},
		}}},
	})
	if err != nil {
		return fmt.Errorf("encoding patch: %w", err)
	}
	return r.Writer.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))
}

// ordered returns the workloads that can be restarted, always in the same order.
func ordered(workloads map[status.Workload]bool) []status.Workload {
	var out []status.Workload
	for w := range workloads {
		if w.Restartable() {
			out = append(out, w)
		}
	}
	slices.SortFunc(out, func(a, b status.Workload) int {
		return strings.Compare(a.String(), b.String())
	})
	return out
}
