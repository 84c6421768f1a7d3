// Package policy reconciles SecurityPolicies: gather what there is, judge it, write the document, restart what may be
// restarted, report.
//
// Decisions that the design leaves open:
//
// Each policy has one ConfigMap with its signed document. It has no owner and the policy no finalizer: deleting a policy
// must never hang, and must not take the document from under running sidecars. When the policy is gone (or going: new
// pods get no sidecar from then on), the document is replaced by a tombstone, with which sidecars pass traffic through;
// when no pod is left that is bound to the policy, the ConfigMap is removed. While another policy picks one of those pods,
// as where a policy is renamed, there is no tombstone: the last document stays in force until they have restarted with the
// other's sidecar, as nobody has decided to open them. A ConfigMap that has the name of a document and is not the
// operator's is left alone.
//
// Two policies conflict when an existing pod matches both. The older governs it; the younger says Accepted=False,
// Conflicted, and its document is still written, for the pods that it alone matches.
//
// A policy that cannot be compiled leaves its last good document as it is, but for what is revoked: that reaches sidecars
// all the same. If somebody deletes that document meanwhile, it cannot be restored until the policy is valid again; running
// sidecars keep it in memory.
//
// What TokenRevocations name is a part of the document. When one expires, the document is written without it; their status
// is package revocation's.
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
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/render"
	"github.com/posterndev/postern/controllers/rollout"
)

// Config is what a Reconciler works with.
type Config struct {
	// Client reads from the informers' cache and writes to the API server.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Key signs documents.
	Key ed25519.PrivateKey
	// Settings are what sidecars are injected with at present.
	Settings func() render.Settings
	// Excluded are the namespaces that the webhook never looks at, whatever their labels say.
	Excluded  []string
	Events    events.EventRecorder
	Restarter *rollout.Restarter
	Clock     clock.PassiveClock
	// Schema decides which schema version a document needs; left out, that of this build.
	Schema compiled.Schema
}

// Reconciler reconciles SecurityPolicies.
type Reconciler struct {
	cfg       Config
	revisions *revisions
	rollouts  *pace
	patience  *patience
}

var _ reconcile.Reconciler = (*Reconciler)(nil)

// NewReconciler returns a reconciler.
func NewReconciler(cfg Config) *Reconciler {
	return &Reconciler{cfg: cfg, revisions: newRevisions(), rollouts: newPace(), patience: newPatience()}
}

// rolloutPause is how long a rollout that waits is left alone.
const rolloutPause = 3 * time.Second

// Reconcile brings one policy's document, pods and status up to date. A fault of the policy is a condition; a fault of the
// API server is an error, and tried again.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	o, err := r.gather(ctx, request.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	if o.policy == nil {
		return r.retire(ctx, o)
	}
	now := r.cfg.Clock.Now()
	v := judge(o, r.cfg.Settings(), r.cfg.Schema, now)
	inForce, writeErr := r.program(ctx, o, v)
	if onlyConflicts(writeErr) || apierrors.HasStatusCause(writeErr, corev1.NamespaceTerminatingCause) {
		// The cache lags behind a write, and a status made of it would say so for a moment; or the namespace is going.
		return settle(ctrl.Result{}, writeErr)
	}
	outcome, rolloutErr := r.restart(ctx, o, v)
	again := r.patience.left(o.name, v.pods, now)
	var statusErr error
	if again == 0 || writeErr != nil || o.policy.Status.ObservedGeneration != o.policy.Generation {
		statusErr = r.report(ctx, o, v, written{document: inForce, err: writeErr, outcome: outcome})
	}
	if v.Document != nil {
		again = sooner(again, compile.NextExpiry(v.Document, now))
	}
	if outcome.Waiting {
		again = sooner(again, rolloutPause)
	}
	if errors.Is(writeErr, errNameTaken) {
		again, writeErr = sooner(again, takenRetry), nil
	}
	return settle(ctrl.Result{RequeueAfter: again}, errors.Join(writeErr, rolloutErr, statusErr))
}

// sooner returns the lesser of two delays, of which 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
