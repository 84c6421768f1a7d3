package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
	"github.com/posterndev/postern/controllers/index"
	"github.com/posterndev/postern/controllers/refused"
	"github.com/posterndev/postern/controllers/render"
)

// observation is everything that a policy is judged by.
type observation struct {
	name types.NamespacedName
	// since is when the operator began to receive reports.
	since time.Time
	// policy is nil if it is deleted or being deleted.
	policy *v1alpha1.SecurityPolicy
	// size is that of the policy's spec, in bytes. A spec that is too large is not read.
	size int
	// excess says that the namespace has as many older policies as are allowed.
	excess bool
	// policies are those of the namespace that are not being deleted. They are the cache's, and must not be changed. Their specs may
	// be trimmed, except for the selectors.
	policies []v1alpha1.SecurityPolicy
	classes  []v1alpha1.SidecarClass
	// labels are those of the namespace.
	labels map[string]string
	// enabled says that the webhook sees the namespace's pods. excluded says that it never sees them, whatever the label is.
	enabled, excluded bool
	// ending says that the namespace is being deleted: nothing can be created in it.
	ending bool
	// webhook says why new pods of the namespace are not sent to the webhook although it is enabled; empty if they are.
	webhook string
	// revocations are those of the namespace that are not being deleted.
	revocations []v1alpha1.TokenRevocation
	// pods are those of the namespace. They are the cache's, and must not be changed.
	pods []corev1.Pod
	// refused are the workloads of the namespace whose pods the API server refuses.
	refused []refused.Refusal
	// configMap holds the policy's document; nil if there is none.
	configMap *corev1.ConfigMap
	// stored is the document in the ConfigMap; nil if the operator did not sign it for this policy, or if it is outdated.
	stored *document
	// held are the other documents in the ConfigMap, for sidecars that cannot read stored. They have older schema versions, the
	// newest first.
	held []*document
}

// document is the hash and the content of a signed document.
type document struct {
	hash   string
	policy *compiled.Policy
}

func (r *Reconciler) gather(ctx context.Context, name types.NamespacedName) (*observation, error) {
	o := &observation{name: name, since: r.started}
	here := client.InNamespace(name.Namespace)
	policies, revocations := &v1alpha1.SecurityPolicyList{}, &v1alpha1.TokenRevocationList{}
	pods, classes := &corev1.PodList{}, &v1alpha1.SidecarClassList{}
	if err := errors.Join(
		r.list(ctx, policies, "policies", here, client.UnsafeDisableDeepCopy), r.list(ctx, revocations, "token revocations", here),
		r.list(ctx, pods, "pods", here, client.UnsafeDisableDeepCopy), r.list(ctx, classes, "sidecar classes"),
	); err != nil {
		return nil, err
	}
	o.policies = slices.DeleteFunc(policies.Items, func(p v1alpha1.SecurityPolicy) bool { return p.DeletionTimestamp != nil })
	if err := r.gatherPolicy(ctx, o); err != nil {
		return nil, err
	}
	o.revocations = slices.DeleteFunc(revocations.Items, func(r v1alpha1.TokenRevocation) bool { return r.DeletionTimestamp != nil })
	o.pods, o.classes = pods.Items, classes.Items
	if r.cfg.Refused != nil {
		o.refused = r.cfg.Refused.In(name.Namespace)
	}
	if o.policy != nil {
		// Another replica may have written this revision, or this one before a restart.
		r.revisions.wrote(name, compile.RecordedRevision(o.policy))
	}
	if err := r.gatherNamespace(ctx, o); err != nil {
		return nil, err
	}
	return o, r.gatherDocument(ctx, o)
}

// gatherPolicy copies the policy from the list, and reads its spec if the cache dropped it.
func (r *Reconciler) gatherPolicy(ctx context.Context, o *observation) error {
	for i := range o.policies {
		cached := &o.policies[i]
		if cached.Name != o.name.Name {
			continue
		}
		full, size, err := index.Complete(ctx, r.cfg.Live, cached)
		if err != nil {
			return client.IgnoreNotFound(err) // it was deleted, and its event follows
		}
		o.policy, o.size = full.DeepCopy(), size
		if others := compile.OlderOf(o.policies, o.policy); others >= compile.MaxPolicies {
			o.excess = true
		}
	}
	return nil
}

func (r *Reconciler) list(ctx context.Context, into client.ObjectList, what string, options ...client.ListOption) error {
	if err := r.cfg.Client.List(ctx, into, options...); err != nil {
		return fmt.Errorf("listing %s: %w", what, err)
	}
	return nil
}

func (r *Reconciler) gatherNamespace(ctx context.Context, o *observation) error {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := r.cfg.Client.Get(ctx, types.NamespacedName{Name: o.name.Namespace}, namespace)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading namespace %q: %w", o.name.Namespace, err)
	}
	o.labels = namespace.Labels
	o.ending = namespace.DeletionTimestamp != nil
	o.excluded = slices.Contains(r.cfg.Excluded, o.name.Namespace)
	o.enabled = !o.excluded && namespace.Labels[v1alpha1.InjectionLabel] == v1alpha1.InjectionLabelEnabled
	return r.gatherWebhook(ctx, o)
}

func (r *Reconciler) gatherDocument(ctx context.Context, o *observation) error {
	cm := &corev1.ConfigMap{}
	name := types.NamespacedName{Namespace: o.name.Namespace, Name: render.ConfigMapName(o.name.Name)}
	err := r.cfg.Client.Get(ctx, name, cm)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading ConfigMap %q: %w", name, err)
	}
	o.configMap = cm
	o.stored, o.held = r.open(cm, o.name)
	return nil
}

// open returns the ConfigMap's documents. stored is nil if the operator did not sign it for this policy, or if it is older than a
// revision that the operator has written, which means that an old document was restored.
func (r *Reconciler) open(cm *corev1.ConfigMap, name types.NamespacedName) (stored *document, held []*document) {
	documents := r.verify(cm, name)
	if len(documents) == 0 || documents[0].policy.Revision < r.revisions.last(name) {
		return nil, nil
	}
	return documents[0], documents[1:]
}

// verify returns the ConfigMap's documents, whatever their revisions; none if the operator did not sign them for this policy.
func (r *Reconciler) verify(cm *corev1.ConfigMap, name types.NamespacedName) []*document {
	documents, err := render.Reader{Schema: r.cfg.Schema, Key: publicKey(r.cfg.Key)}.Open(cm, name.Name)
	if err != nil || cm.Namespace != name.Namespace {
		return nil
	}
	out := make([]*document, len(documents))
	for i, d := range documents {
		out[i] = &document{hash: d.Hash, policy: d.Policy}
	}
	return out
}
