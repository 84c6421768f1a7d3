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

// fieldManager owns what setup applied: what a later version leaves out goes, what others added stays.
const fieldManager = "postern-setup"

const kind = "SidecarClass"

// resource is what classes are called in URLs. It is asked for without discovery, which is cached and lags behind.
var resource = schema.GroupVersionResource{Group: "postern.dev", Version: "v1alpha1", Resource: "sidecarclasses"}

// decode reads the manifest of one named SidecarClass; whether its fields are right, the API server says.
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

// apply retries until ctx ends: at first the kind is not served, and the rights to it may not be known everywhere. An
// object that the API server finds wrong stays wrong, and is an error at once.
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
			return fmt.Errorf("applying %s %q: %w; the last answer was: %w", kind, class.GetName(), ctx.Err(), err)
		case <-time.After(a.retry):
		}
	}
}
