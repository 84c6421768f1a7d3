// Package policy reconciles SecurityPolicies. A reconcile gathers the objects, judges them, writes the document, restarts
// workloads if the policy allows it, and writes the status.
//
// Decisions that the design leaves open:
//
// Each policy has one ConfigMap with its signed document. The ConfigMap has no owner, and the policy has no finalizer:
// deleting a policy must never hang, and must not remove the document of running sidecars. When the policy is deleted, or being
// deleted, new pods get no sidecar, and the document is replaced by a tombstone, with which sidecars pass all traffic through.
// The ConfigMap is deleted when no pod is bound to the policy any more. If another policy selects one of those pods (for
// example after a policy was renamed), there is no tombstone: the last document stays active until the pods have restarted with
// the other policy's sidecar, because nobody decided to leave them unprotected. A ConfigMap that has the name of a document and
// is not the operator's is not changed.
//
// Two policies conflict if an existing pod matches both. The older one applies to the pod. The younger one has
// Accepted=False with reason Conflicted, and its document is still written, for the pods that only it matches.
//
// If a policy cannot be compiled, its last good document stays, with current revocations, so that a revocation still reaches
// the sidecars. If somebody deletes that document, it cannot be restored until the policy is valid again; running sidecars keep
// it in memory.
//
// The tokens that TokenRevocations name are part of the document. When a revocation expires, the document is written without
// it. Package revocation writes the status of TokenRevocations.
package policy

import (
	"context"
	"crypto/ed25519"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/refused"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/rollout"
)

// Config configures a Reconciler.
type Config struct {
	// Client reads from the informers' cache and writes to the API server.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Key signs documents.
	Key ed25519.PrivateKey
	// Settings returns the current settings of injected sidecars.
	Settings func() render.Settings
	// Excluded are the namespaces whose pods the webhook never sees, whatever their labels are.
	Excluded []string
	// Webhook is the name of the MutatingWebhookConfiguration that sends new pods to the webhook; empty if it is not checked.
	Webhook string
	// Changed receives an event when Settings returns other settings, which may mean that pods need a restart.
	Changed   <-chan event.GenericEvent
	Events    events.EventRecorder
	Restarter *rollout.Restarter
	Clock     clock.PassiveClock
	// Rights knows what the operator may not do; nil if that is not checked.
	Rights Rights
	// Refused knows the workloads whose pods the API server refuses; nil if nobody watches them.
	Refused Refused
	// Schema decides which schema version a document needs; nil means that of this build.
	Schema compiled.Schema
}

// Rights knows the operator's missing rights, and sends an event when they change: see package rights.
type Rights interface {
	Missing() []string
	Changed() <-chan event.GenericEvent
}

// Refused knows the workloads of a namespace whose pods the API server refuses, and sends an event with a pod's labels when that
// changes: see package refused.
type Refused interface {
	In(namespace string) []refused.Refusal
	Changed() <-chan event.GenericEvent
}

// Reconciler reconciles SecurityPolicies.
type Reconciler struct {
	cfg       Config
	revisions *revisions
	rollouts  *pace
	settling  *settling
	started   time.Time
}

var _ reconcile.Reconciler = (*Reconciler)(nil)

// NewReconciler returns a reconciler.
func NewReconciler(cfg Config) *Reconciler {
	return &Reconciler{cfg: cfg, revisions: newRevisions(), rollouts: newPace(), settling: newSettling(), started: cfg.Clock.Now()}
}

// rolloutPause is the delay between two steps of a rollout that waits.
const rolloutPause = 3 * time.Second

// Reconcile brings one policy's document, pods and status up to date. An error in the policy becomes a condition. An error of
// the API server is returned, and retried.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	o, err := r.gather(ctx, request.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if o.ending && o.configMap == nil {
		return ctrl.Result{}, nil // its document was deleted with the namespace's other objects, and cannot be created again
	}
	if o.policy == nil {
		return r.retire(ctx, o)
	}
	now := r.cfg.Clock.Now()
	v := judge(o, r.cfg.Settings(), r.cfg.Schema, now)
	active, writeErr := r.program(ctx, o, v)
	if onlyConflicts(writeErr) || apierrors.HasStatusCause(writeErr, corev1.NamespaceTerminatingCause) {
		// Either the cache lags behind a write, and a status computed from it would be wrong for a moment, or the namespace is
		// being deleted.
		return retryQuietly(ctrl.Result{}, writeErr)
	}
	outcome, rolloutErr := r.restart(ctx, o, v)
	again := r.settling.remaining(o.name, v.pods, now)
	var statusErr error
	if again == 0 || writeErr != nil || o.policy.Status.ObservedGeneration != o.policy.Generation {
		statusErr = r.report(ctx, o, v, written{document: active, err: writeErr, outcome: outcome})
	}
	if v.Document != nil {
		again = sooner(again, compile.NextExpiry(v.Document, now))
	}
	again = sooner(again, nextSilence(o, now))
	if outcome.Waiting {
		again = sooner(again, rolloutPause)
	}
	if errors.Is(writeErr, errNameTaken) {
		again, writeErr = sooner(again, takenRetry), nil
	}
	return retryQuietly(ctrl.Result{RequeueAfter: again}, errors.Join(writeErr, rolloutErr, statusErr))
}

// sooner returns the shorter of two delays; 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
