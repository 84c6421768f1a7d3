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
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/render"
)

// program writes the document that should be where the stored one says anything else, and returns the hash of the document
// that is in force; empty where there is none.
func (r *Reconciler) program(ctx context.Context, o *observation, v *verdict) (string, error) {
	inForce := ""
	if o.stored != nil && !o.stored.policy.Deleted {
		inForce = o.stored.hash
	}
	if v.Document == nil || r.fits(o, v.Document) {
		return inForce, nil
	}
	hash, err := r.write(ctx, o, v.Document)
	if err != nil {
		return inForce, err
	}
	r.patience.replaced(o.name, o.stored, v.Document, r.cfg.Clock.Now())
	return hash, nil
}

// fits reports whether the ConfigMap holds exactly this document, whatever its revision, and is as the operator writes it.
func (r *Reconciler) fits(o *observation, want *compiled.Policy) bool {
	if o.stored == nil || !sameDocument(want, o.stored.policy) {
		return false
	}
	cm := o.configMap
	intended := render.ConfigMap(o.name.Namespace, o.name.Name, compiled.Signed{})
	return maps.Equal(cm.Labels, intended.Labels) && len(cm.Data) == len(intended.Data) && len(cm.BinaryData) == 0 &&
		(cm.Immutable == nil || !*cm.Immutable)
}

// sameDocument compares documents, whatever their revisions.
func sameDocument(a, b *compiled.Policy) bool {
	same := *a
	same.Revision = b.Revision
	x, errX := compiled.Encode(&same)
	y, errY := compiled.Encode(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// write signs a document under the next revision, stores it and returns its hash.
func (r *Reconciler) write(ctx context.Context, o *observation, policy *compiled.Policy) (string, error) {
	next := *policy
	next.Revision = r.revisions.next(o.name, o.stored, r.cfg.Clock.Now())
	signed, err := compiled.Sign(&next, r.cfg.Key)
	if err != nil {
		return "", fmt.Errorf("signing document: %w", err)
	}
	cm := render.ConfigMap(o.name.Namespace, o.name.Name, signed)
	if err := r.store(ctx, o.name, cm, o.configMap); err != nil {
		return "", fmt.Errorf("writing ConfigMap %q: %w", cm.Name, err)
	}
	r.revisions.wrote(o.name, next.Revision)
	contextlog.From(ctx).Info("wrote a document", "revision", next.Revision, "hash", signed.Hash(), "deleted", next.Deleted)
	return signed.Hash(), nil
}

// errCacheLags is why a ConfigMap is looked at again that the cache does not hold yet.
var errCacheLags = errors.New("the cache does not hold it yet")

// store creates the policy's ConfigMap, or replaces the one there is, if that is ours.
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
	// The cache does not know it (yet): it lags, or somebody took the label away, or it never was ours.
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

// replace writes over old, if it is still what was read. One that somebody made immutable is in the way, and goes.
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

// settle makes a conflict a quiet second try, as the cache lags behind a write, and ends what a namespace that is going
// does not take any more.
func settle(result ctrl.Result, err error) (ctrl.Result, error) {
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
