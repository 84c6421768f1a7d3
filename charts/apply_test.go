package charts

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestServerSideApply checks that applying the unchanged chart again, after the operator has written what is its own, conflicts with
// nothing and changes nothing. Argo CD, Flux and Helm 4 apply so.
func TestServerSideApply(t *testing.T) {
	installCRDs(t)
	objects := decode(t, run(t, "helm", "template", release, chart, "--namespace", namespace, "--no-hooks"))
	apply := func(owner string) map[string]string {
		versions := map[string]string{}
		for _, o := range objects {
			if foreign.MatchString(o.GetAPIVersion()) {
				continue
			}
			applied := o.DeepCopy()
			err := shared.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), client.FieldOwner(owner))
			if err != nil {
				t.Fatalf("applying %s %s: %v", o.GetKind(), o.GetName(), err)
			}
			versions[o.GetKind()+" "+o.GetName()] = applied.GetResourceVersion()
		}
		return versions
	}
	t.Cleanup(func() {
		for _, o := range objects {
			if !foreign.MatchString(o.GetAPIVersion()) && o.GetKind() != "CustomResourceDefinition" {
				_ = shared.Delete(context.Background(), o)
			}
		}
	})
	apply("helm")
	writeOperatorState(t)
	second := apply("helm")
	for name, version := range apply("helm") {
		if version != second[name] {
			t.Errorf("%s changed although nothing did: %s, then %s", name, second[name], version)
		}
	}
	apply("argocd-controller") // another owner, with the same values
}
