package revocation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// observation is everything that a namespace's revocations are judged by. It contains nothing that is being deleted, except pods.
type observation struct {
	namespace string
	// key is the operator's key as sidecars have it.
	key         string
	revocations []v1alpha1.TokenRevocation
	// policies are sorted by name.
	policies []v1alpha1.SecurityPolicy
	classes  []v1alpha1.SidecarClass
	pods     []corev1.Pod
	// documents are those signed by the operator, by policy.
	documents map[string]document
}

// document is what a policy's ConfigMap holds.
type document struct {
	hash   string
	policy *compiled.Policy
	// held are the hashes of the other documents in the ConfigMap, for sidecars that cannot read policy. They contain the same
	// revocations.
	held []string
}

// gather stops early if there are no revocations.
func (r *Reconciler) gather(ctx context.Context, namespace string) (*observation, error) {
	o := &observation{namespace: namespace, key: render.Settings{DocumentKey: r.cfg.Key}.DocumentKeyValue(), documents: map[string]document{}}
	here := client.InNamespace(namespace)
	revocations := &v1alpha1.TokenRevocationList{}
	if err := r.list(ctx, revocations, "token revocations", here); err != nil {
		return nil, err
	}
	o.revocations = slices.DeleteFunc(revocations.Items, func(r v1alpha1.TokenRevocation) bool { return r.DeletionTimestamp != nil })
	if len(o.revocations) == 0 {
		return o, nil
	}
	policies, classes, pods := &v1alpha1.SecurityPolicyList{}, &v1alpha1.SidecarClassList{}, &corev1.PodList{}
	if err := errors.Join(r.list(ctx, policies, "policies", here), r.list(ctx, classes, "sidecar classes"),
		r.list(ctx, pods, "pods", here)); err != nil {
		return nil, err
	}
	o.policies = slices.DeleteFunc(policies.Items, func(p v1alpha1.SecurityPolicy) bool { return p.DeletionTimestamp != nil })
	slices.SortFunc(o.policies, func(a, b v1alpha1.SecurityPolicy) int { return strings.Compare(a.Name, b.Name) })
	o.classes, o.pods = classes.Items, pods.Items
	return o, r.gatherDocuments(ctx, o)
}

func (r *Reconciler) list(ctx context.Context, into client.ObjectList, what string, options ...client.ListOption) error {
	if err := r.cfg.Client.List(ctx, into, options...); err != nil {
		return fmt.Errorf("listing %s: %w", what, err)
	}
	return nil
}

// gatherDocuments skips documents that the operator did not sign for the policy: package policy corrects them.
func (r *Reconciler) gatherDocuments(ctx context.Context, o *observation) error {
	for i := range o.policies {
		policy := o.policies[i].Name
		cm := &corev1.ConfigMap{}
		name := types.NamespacedName{Namespace: o.namespace, Name: render.ConfigMapName(policy)}
		err := r.cfg.Client.Get(ctx, name, cm)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading ConfigMap %q: %w", name, err)
		}
		if documents, err := (render.Reader{Schema: r.cfg.Schema, Key: r.cfg.Key}).Open(cm, policy); err == nil {
			d := document{hash: documents[0].Hash, policy: documents[0].Policy}
			for _, held := range documents[1:] {
				d.held = append(d.held, held.Hash)
			}
			o.documents[policy] = d
		}
	}
	return nil
}
