package certs

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// remembered returns a copy of a Secret that can be created again if somebody deletes it. It has the same labels and annotations, so
// that Helm still takes it for its own.
func remembered(s *corev1.Secret) *corev1.Secret {
	c := s.DeepCopy()
	c.ObjectMeta = metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, Labels: c.Labels, Annotations: c.Annotations}
	return c
}

// restore creates the Secret again. The API server's error tells whether another replica was faster.
func restore(ctx context.Context, c client.Client, s *corev1.Secret) error {
	if err := c.Create(ctx, s.DeepCopy()); err != nil {
		return fmt.Errorf("restoring Secret %q, which was deleted: %w", s.Name, err)
	}
	return nil
}
