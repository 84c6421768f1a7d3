package v1alpha1_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// TestNewObjectsAreInProgress: Flux and helm --wait, which go by kstatus, must not take an object for ready that no operator has looked at. kstatus
// takes an object without a status for ready, so the CRDs have a default.
func TestNewObjectsAreInProgress(t *testing.T) {
	c := apiServer(t)
	for kind, spec := range map[string]map[string]any{
		"SecurityPolicy": {"selector": map[string]any{}}, "SidecarClass": {}, "TokenRevocation": {"subject": "ada"},
	} {
		t.Run(kind, func(t *testing.T) {
			o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
			o.SetAPIVersion(v1alpha1.GroupVersion.String())
			o.SetKind(kind)
			o.SetName("fresh")
			if kind != "SidecarClass" {
				o.SetNamespace("default")
			}
			if err := c.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Delete(t.Context(), o) })
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				t.Fatal(err)
			}
			got, err := kstatus.Compute(o)
			if err != nil || got.Status != kstatus.InProgressStatus {
				t.Errorf("%+v, %v; the object has the status %v", got, err, o.Object["status"])
			}
		})
	}
}
