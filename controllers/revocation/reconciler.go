// Package revocation reports the progress of each TokenRevocation. It writes only statuses: revocations reach sidecars in the
// documents that package policy writes.
//
// Decisions that the design leaves open:
//
// A namespace is judged as a whole, because its revocations have the same policies, documents and pods: each is read once,
// however many revocations there are. Of the statuses that changed, those of revocations that were never enforced are written
// first, and a bounded number per reconcile, so that a rollout with a thousand revocations neither floods the API server nor
// delays a new one.
//
// A document changes with every revocation. A pod that still runs the previous one has all the other revocations, so it counts
// for them: the reconciler remembers which documents it has seen, and from which of them on each revocation is contained
// unchanged. It assumes nothing about documents from before it started.
//
// A pod counts for the policy whose documents its sidecar runs, and a pod without a sidecar for the policy that should apply
// to it.
package revocation

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/transition"
)

// Config configures a Reconciler.
type Config struct {
	// Client reads from the informers' cache and writes to the API server.
	Client client.Client
	// Key verifies documents.
	Key    ed25519.PublicKey
	Events events.EventRecorder
	Clock  clock.PassiveClock
	// Schema decides which schema versions can be read; nil means that of this build.
	Schema compiled.Schema
}

// Reconciler writes the statuses of TokenRevocations.
type Reconciler struct {
	cfg     Config
	history *history
	// writes is maxWrites, except in tests.
	writes int
}

var _ reconcile.Reconciler = (*Reconciler)(nil)

// NewReconciler returns a reconciler.
func NewReconciler(cfg Config) *Reconciler {
	return &Reconciler{cfg: cfg, history: newHistory(), writes: maxWrites}
}

const (
	// maxWrites bounds the statuses written by one reconcile; the rest follows after writeDelay.
	maxWrites  = 50
	writeDelay = time.Second
	// conflictDelay gives the cache time to catch up with a write.
	conflictDelay = 100 * time.Millisecond
)

// Reconcile judges the namespace that the request names.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	o, err := r.gather(ctx, request.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	if len(o.revocations) == 0 {
		r.history.forget(request.Name)
		return ctrl.Result{}, nil
	}
	now := r.cfg.Clock.Now()
	v := judge(o, r.history.see(o.namespace, o.documents), now)
	left, err := r.report(ctx, o, v)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictDelay}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if left {
		return ctrl.Result{RequeueAfter: writeDelay}, nil
	}
	return ctrl.Result{RequeueAfter: v.next}, nil
}

// report writes the statuses that changed, and reports whether some are left for the next reconcile.
func (r *Reconciler) report(ctx context.Context, o *observation, v *verdict) (left bool, err error) {
	changed := v.changed
	slices.SortFunc(changed, func(a, b change) int {
		if fresh := a.fresh(); fresh != b.fresh() {
			if fresh {
				return -1
			}
			return 1
		}
		return strings.Compare(a.revocation.Name, b.revocation.Name)
	})
	for _, c := range changed[:min(len(changed), r.writes)] {
		if err := r.write(ctx, c); err != nil {
			return false, fmt.Errorf("patching status of token revocation %q in namespace %q: %w", c.revocation.Name, o.namespace, err)
		}
	}
	return len(changed) > r.writes, nil
}

func (r *Reconciler) write(ctx context.Context, c change) error {
	next := c.revocation.DeepCopy()
	next.Status = c.status
	// The patch must be relative to the API server's object: relative to an outdated cache it would keep half of a status.
	patch := client.MergeFromWithOptions(c.revocation, client.MergeFromWithOptimisticLock{})
	if err := r.cfg.Client.Status().Patch(ctx, next, patch); err != nil {
		return client.IgnoreNotFound(err)
	}
	transition.Record(r.cfg.Events, next, c.revocation.Status.Conditions, c.status.Conditions)
	if c.enforcedNow() {
		contextlog.From(ctx).Info("a revocation is enforced", "tokenRevocation", next.Name, "sidecars", c.status.Sidecars.Summary)
	}
	return nil
}

// change is a status to be written.
type change struct {
	// revocation is the object with its current status.
	revocation *v1alpha1.TokenRevocation
	status     v1alpha1.TokenRevocationStatus
}

// fresh reports whether this generation of the revocation was never enforced: somebody may be waiting for it.
func (c change) fresh() bool {
	s := &c.revocation.Status
	return s.EnforcedTime == nil || s.ObservedGeneration != c.revocation.Generation
}

// enforcedNow reports whether this generation of the revocation is enforced for the first time.
func (c change) enforcedNow() bool { return c.fresh() && c.status.EnforcedTime != nil }
