package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// fieldManager owns the fields that setup applied: fields that a later version omits are removed, fields of others are kept.
const fieldManager = "postern-setup"

const kind = "SidecarClass"

// resource is the name of classes in URLs. It is used without discovery, which is cached and can be outdated.
var resource = schema.GroupVersionResource{Group: "postern.dev", Version: "v1alpha1", Resource: "sidecarclasses"}

// decode reads the manifest of one SidecarClass with a name. The API server validates its fields.
func decode(manifest []byte) (*unstructured.Unstructured, error) {
	class := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict(manifest, &class.Object); err != nil {
		return nil, fmt.Errorf("decoding YAML: %w", err)
	}
	if class.GroupVersionKind() != resource.GroupVersion().WithKind(kind) {
		return nil, fmt.Errorf("%q is not a %s of %s", class.GroupVersionKind(), kind, resource.GroupVersion())
	}
	if class.GetName() == "" {
		return nil, errors.New("it has no metadata.name")
	}
	return class, nil
}

// applier applies a class by server-side apply.
type applier struct {
	classes dynamic.ResourceInterface
	retry   time.Duration
	log     *slog.Logger
}

// apply retries until ctx ends, because at first the kind is not served, and its RBAC rules may not have reached every API server.
// If the API server rejects the object as invalid, apply returns an error without a retry.
func (a applier) apply(ctx context.Context, class *unstructured.Unstructured) error {
	for {
		_, err := a.classes.Apply(ctx, class.GetName(), class, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if err == nil {
			a.log.Info("applied the class", "name", class.GetName())
			return nil
		}
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
			return fmt.Errorf("applying %s %q: %w", kind, class.GetName(), err)
		}
		a.log.Info("waiting for the API server", "error", err)
		select {
		case <-ctx.Done():
			return fmt.Errorf("applying %s %q: %w; last error: %w", kind, class.GetName(), ctx.Err(), err)
		case <-time.After(a.retry):
		}
	}
}
