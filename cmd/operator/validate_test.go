package main

import (
	"errors"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// warnings collects the warnings of the API server.
type warnings struct {
	mu    sync.Mutex
	texts []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.texts = append(w.texts, text)
}

func (w *warnings) want(t *testing.T, text string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !strings.Contains(strings.Join(w.texts, "\n"), text) {
		t.Errorf("the warnings are %q, want %q among them", w.texts, text)
	}
	w.texts = nil
}

// userClient returns the client of a user who applies objects, and its warnings.
func userClient(t *testing.T) (client.Client, *warnings) {
	t.Helper()
	received := &warnings{}
	config := rest.CopyConfig(shared.Config)
	config.WarningHandler = received
	c, err := client.New(config, client.Options{Scheme: shared.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c, received
}

// invalid makes the policy one that the CRD accepts, but that no sidecar can run.
func invalid(p *v1alpha1.SecurityPolicy) *v1alpha1.SecurityPolicy {
	p.Spec.Ports = []v1alpha1.Port{{Port: intstr.FromInt32(int32(compiled.AdminPort))}}
	return p
}

// TestApply checks that the webhook rejects objects that no sidecar can run, and names the field. An operator that is down must not
// block objects. An invalid object can still be labelled, released from its finalizer and deleted.
func TestApply(t *testing.T) {
	c, received := userClient(t)
	ns := newNamespace(t, "apply", nil)
	early := invalid(newPolicy(ns, "early", "early"))
	early.Finalizers = []string{"example.com/kept"}
	if err := c.Create(t.Context(), early); err != nil {
		t.Fatalf("rejected while the operator is down: %v", err)
	}

	stop := startOperator(t)
	eventually(t, "an invalid policy is refused", func() error { // the API server gets the CA shortly after
		err := c.Create(t.Context(), invalid(newPolicy(ns, "refused", "orders")), client.DryRunAll)
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "spec.ports[0].port: 15991 is the sidecar's own port") {
			return nil
		}
		return errOf(err)
	})
	good := newPolicy(ns, "good", "orders")
	good.Spec.CORS = &v1alpha1.CORS{AllowOrigins: []string{"https://*.github.io"}}
	if err := c.Create(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	received.want(t, `spec.cors.allowOrigins[0]: anybody can register a name under github.io`)
	eventually(t, "an edit that no sidecar can run is refused", func() error { // the status is written at the same time
		now := policyNow(t, good)
		if err := c.Update(t.Context(), invalid(now)); !apierrors.IsForbidden(err) {
			return errOf(err)
		}
		return nil
	})
	stray := &v1alpha1.TokenRevocation{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "stray"}, Spec: v1alpha1.TokenRevocationSpec{TokenID: "j", PolicyName: "ordres"}}
	if err := c.Create(t.Context(), stray); err != nil {
		t.Errorf("a revocation is refused: %v", err)
	}
	received.want(t, `there is no SecurityPolicy "ordres"`)

	change(t, early, func(p *v1alpha1.SecurityPolicy) { p.Labels = map[string]string{"a": "b"} })
	wantCondition(t, early, v1alpha1.ConditionAccepted, no, v1alpha1.ReasonInvalid)
	if err := c.Delete(t.Context(), early); err != nil {
		t.Errorf("an invalid policy cannot be deleted: %v", err)
	}
	change(t, early, func(p *v1alpha1.SecurityPolicy) { p.Finalizers = nil })

	stop()
	if err := c.Create(t.Context(), invalid(newPolicy(ns, "late", "late"))); err != nil {
		t.Errorf("rejected while the operator is down: %v", err)
	}
}

func errOf(err error) error {
	if err == nil {
		return errors.New("it is accepted")
	}
	return err
}
