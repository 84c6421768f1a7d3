package inject

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
	"github.com/posterndev/postern/controllers/render"
)

const (
	// preparations bounds the policies that are prepared at once: each can hold a document of 1 MiB several times over.
	preparations = 4
	// prepareTimeout bounds one preparation, including the wait for others.
	prepareTimeout = 5 * time.Second
)

// preparation is the version of a policy that pods are prepared for.
type preparation struct {
	uid        types.UID
	name       string
	generation int64
}

// prepare gathers the input of Inject, except for the pod. It is done once for all pods of the policy that arrive together.
func (h *Handler) prepare(ctx context.Context, policy *v1alpha1.SecurityPolicy) (Input, error) {
	policy, size, err := index.Complete(ctx, h.config.Live, policy)
	if err != nil {
		return Input{}, err
	}
	classes, class, err := h.classes(ctx, policy)
	if err != nil {
		return Input{}, err
	}
	last, err := h.last(ctx, policy)
	if err != nil {
		return Input{}, err
	}
	in := compile.Input{Policy: policy, Size: size, Classes: classes, Last: compile.Current(policy, last)}
	document, err := h.memo.document(in, class)
	if err != nil {
		return Input{}, err
	}
	sidecar := h.sidecar(document, policy, class)
	sidecar.Floor = compile.Floor(policy, last)
	labels, err := h.namespaceLabels(ctx, policy.Namespace)
	if err != nil {
		return Input{}, err
	}
	return Input{Sidecar: sidecar, NamespaceLabels: labels}, nil
}

// classes returns all classes, and that of the policy. A class that the cache does not have may have been created just before.
func (h *Handler) classes(ctx context.Context, policy *v1alpha1.SecurityPolicy) ([]v1alpha1.SidecarClass, *v1alpha1.SidecarClass, error) {
	var missing error
	for _, reader := range []client.Reader{h.config.Reader, h.config.Live} {
		list := &v1alpha1.SidecarClassList{}
		if err := reader.List(ctx, list); err != nil {
			return nil, nil, fmt.Errorf("listing classes: %w", err)
		}
		class, err := compile.ResolveClass(policy, list.Items)
		if err == nil {
			return list.Items, class, nil
		}
		missing = err
	}
	return nil, nil, refusef("%v", missing)
}

// namespaceLabels returns the labels of the namespace, which may have been created just before.
func (h *Handler) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	var errs []error
	for _, reader := range []client.Reader{h.config.Reader, h.config.Live} {
		namespace := &metav1.PartialObjectMetadata{}
		namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		err := reader.Get(ctx, client.ObjectKey{Name: name}, namespace)
		if err == nil {
			return namespace.Labels, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("reading namespace: %w", errors.Join(errs...))
}

// last returns the document in the policy's ConfigMap; nil if there is none that the operator signed for this policy. The cache's is
// good if it was compiled from this very policy, generation and all: what was written since differs in revocations, which the
// sidecar gets with its first poll. Otherwise the ConfigMap is read, because the pod's floor depends on it.
func (h *Handler) last(ctx context.Context, policy *v1alpha1.SecurityPolicy) (*compiled.Policy, error) {
	last, err := h.document(ctx, h.config.Reader, policy)
	if err == nil && last != nil && !last.Deleted && last.UID == string(policy.UID) && last.Generation == policy.Generation &&
		last.Revision >= compile.RecordedRevision(policy) {
		return last, nil
	}
	return h.document(ctx, h.config.Live, policy)
}

func (h *Handler) document(ctx context.Context, reader client.Reader, policy *v1alpha1.SecurityPolicy) (*compiled.Policy, error) {
	cm := &corev1.ConfigMap{}
	name := client.ObjectKey{Namespace: policy.Namespace, Name: render.ConfigMapName(policy.Name)}
	err := reader.Get(ctx, name, cm)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %q: %w", name, err)
	}
	// Where it is not the operator's, package policy replaces it, or reports that the name is taken.
	return h.memo.open(cm, policy.Name, h.config.Settings().DocumentKey), nil
}

// documentFor returns the document for which the pod's sidecar is rendered: that of the current policy, or the last good one if
// the policy cannot be compiled, and then valid is false. If the selector is invalid, the pod is refused, because it is unknown which
// pods the policy selects.
func documentFor(in compile.Input) (document *compiled.Policy, valid bool, err error) {
	intent := compile.Intend(in)
	unread := slices.ContainsFunc(intent.Findings, func(f compile.Finding) bool {
		return f.Severity == compile.Error && f.Field == "spec.selector"
	})
	if intent.Document == nil || unread {
		return nil, false, refusef("the policy is invalid, correct it: %s", describe(intent.Findings))
	}
	return intent.Document, intent.Valid, nil
}

func (h *Handler) sidecar(document *compiled.Policy, policy *v1alpha1.SecurityPolicy, class *v1alpha1.SidecarClass) render.Sidecar {
	return render.Sidecar{
		Policy:       document,
		Class:        class,
		Interception: compile.Interception(policy, class),
		Settings:     h.config.Settings(),
	}
}
