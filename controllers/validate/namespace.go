package validate

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// injectionLabel warns if the namespace's label for injection has a value that does not enable it, such as "true". A namespace without
// the label is no mistake: it may get the label later.
func (h *Handler) injectionLabel(ctx context.Context, name string) ([]compile.Finding, error) {
	namespace := &corev1.Namespace{}
	if err := h.config.Reader.Get(ctx, client.ObjectKey{Name: name}, namespace); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading namespace: %w", err)
	}
	value, ok := namespace.Labels[v1alpha1.InjectionLabel]
	if !ok || value == v1alpha1.InjectionLabelEnabled {
		return nil, nil
	}
	return []compile.Finding{warning("metadata.namespace", "pods of namespace %s get no sidecar, because its label %s has the value %q: "+
		"kubectl label namespace %s %s=%s --overwrite", name, v1alpha1.InjectionLabel, value, name, v1alpha1.InjectionLabel, v1alpha1.InjectionLabelEnabled)}, nil
}
