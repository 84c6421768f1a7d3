package policy

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/render"
)

// program writes the intended document if the stored one differs from it, and returns the active document; nil if there is
// none.
func (r *Reconciler) program(ctx context.Context, o *observation, v *verdict) (*document, error) {
	var active *document
	if o.stored != nil && !o.stored.policy.Deleted {
		active = o.stored
	}
	if v.Document == nil || r.fits(o, v.Document, v.held) {
		return active, nil
	}
	next, err := r.write(ctx, o, v.Document, v.held)
	if err != nil {
		return active, err
	}
	r.settling.replaced(o.name, o.stored, v.Document, r.cfg.Clock.Now())
	return next, nil
}

// fits reports whether the ConfigMap holds exactly these documents, ignoring revisions, and has the form that the operator
// writes.
func (r *Reconciler) fits(o *observation, want *compiled.Policy, held []*compiled.Policy) bool {
	if o.stored == nil || !sameDocument(want, o.stored.policy) || len(held) != len(o.held) {
		return false
	}
	for i := range held {
		if !sameDocument(held[i], o.held[i].policy) {
			return false
		}
	}
	cm := o.configMap
	intended := render.ConfigMap(o.name.Namespace, o.name.Name)
	return maps.Equal(cm.Labels, intended.Labels) && len(cm.Data) == 2*(1+len(held)) && len(cm.BinaryData) == 0 &&
		(cm.Immutable == nil || !*cm.Immutable)
}

// sameDocument reports whether two documents are equal except for their revisions.
func sameDocument(a, b *compiled.Policy) bool {
	same := *a
	same.Revision = b.Revision
	x, errX := compiled.Encode(&same)
	y, errY := compiled.Encode(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// write signs the policy's document with the next revision, and the documents that are held for older sidecars with the
// revisions directly below it. It stores them and returns the policy's document. Its revision is the floor of new pods, so they
// accept none of the others.
func (r *Reconciler) write(ctx context.Context, o *observation, policy *compiled.Policy, held []*compiled.Policy) (*document, error) {
	revision := r.revisions.next(o.name, o.stored, r.cfg.Clock.Now())
	if o.policy != nil { // a pod that was created before the first document has this floor, and the clocks can differ
		revision = max(revision, compile.FirstRevision(o.policy))
	}
	revision += int64(len(held))
	var next *document
	var documents []compiled.Signed
	for i, p := range append([]*compiled.Policy{policy}, held...) {
		numbered := *p
		numbered.Revision = revision - int64(i)
		signed, err := compiled.Sign(&numbered, r.cfg.Key)
		if err != nil {
			return nil, fmt.Errorf("signing document: %w", err)
		}
		documents = append(documents, signed)
		if i == 0 {
			next = &document{hash: signed.Hash(), policy: &numbered}
		}
	}
	cm := render.ConfigMap(o.name.Namespace, o.name.Name, documents...)
	if err := r.store(ctx, o.name, cm, o.configMap); err != nil {
		return nil, fmt.Errorf("writing ConfigMap %q: %w", cm.Name, err)
	}
	r.revisions.wrote(o.name, revision)
	contextlog.From(ctx).Info("wrote a document", "revision", revision,
		"hash", next.hash, "deleted", policy.Deleted, "held", len(held))
	return next, nil
}

// errCacheLags is the cause of a retry if the API server has a ConfigMap that the cache does not hold yet.
var errCacheLags = errors.New("the cache does not hold it yet")

// store creates the policy's ConfigMap, or replaces the existing one if the operator owns it.
func (r *Reconciler) store(ctx context.Context, policy types.NamespacedName, cm, old *corev1.ConfigMap) error {
	if old != nil && r.owned(old, policy) {
		return r.replace(ctx, cm, old)
	}
	if old != nil {
		return errNameTaken
	}
	err := r.cfg.Client.Create(ctx, cm)
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	// The ConfigMap is not in the cache: the cache lags, the label was removed, or the ConfigMap is not the operator's.
	live := &corev1.ConfigMap{}
	if err := r.cfg.Live.Get(ctx, client.ObjectKeyFromObject(cm), live); err != nil {
		return err
	}
	if !r.owned(live, policy) {
		return errNameTaken
	}
	if _, cached := live.Labels[render.PolicyLabel]; cached {
		return apierrors.NewConflict(corev1.Resource("configmaps"), cm.Name, errCacheLags)
	}
	return r.replace(ctx, cm, live)
}

// replace overwrites old if it has not changed since it was read. If old was made immutable, it is deleted and created again.
func (r *Reconciler) replace(ctx context.Context, cm, old *corev1.ConfigMap) error {
	if old.Immutable == nil || !*old.Immutable {
		cm.ResourceVersion = old.ResourceVersion
		return r.cfg.Client.Update(ctx, cm)
	}
	err := r.cfg.Client.Delete(ctx, old, client.Preconditions{ResourceVersion: ptr.To(old.ResourceVersion)})
	if err != nil {
		return err
	}
	return r.cfg.Client.Create(ctx, cm)
}

// retryQuietly turns a conflict into a retry without an error, because the cache lags behind a write. It drops the error of a
// namespace that is being deleted, because nothing more can be written there.
func retryQuietly(result ctrl.Result, err error) (ctrl.Result, error) {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return ctrl.Result{}, nil
	}
	if err != nil && onlyConflicts(err) {
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil
	}
	return result, err
}

func onlyConflicts(err error) bool {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		for _, e := range joined.Unwrap() {
			if !onlyConflicts(e) {
				return false
			}
		}
		return true
	}
	return apierrors.IsConflict(err)
}

func publicKey(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}
