//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
)

// denied refuses everyone.
const denied = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: NAME}
spec:
  selector: {matchLabels: {LABEL}}
  rollout: ROLLOUT
  authorization: {default: Deny}
`

// testStatus follows a workload that existed before the policy. Each condition says what is missing, and its advice works.
func testStatus(t *testing.T) {
	s := newBareSpace(t)
	s.copyRedisPassword()
	s.deploy("orders", 2)
	s.rolledOut("orders")
	url := s.serviceURL("orders")
	eventuallyStatus(t, http.StatusOK, url+"/")

	s.apply(denied, "NAME", "orders", "LABEL", "app: orders", "ROLLOUT", "Manual")
	advice := fmt.Sprintf("kubectl label namespace %s postern.dev/injection=enabled", s.name)
	s.hasCondition("orders", v1alpha1.ConditionProgrammed, metav1.ConditionFalse, v1alpha1.ReasonInjectionDisabled, advice)
	s.follow(advice)

	advice = fmt.Sprintf("kubectl rollout restart deployment/orders -n %s", s.name)
	pods := s.pods("orders")
	s.hasCondition("orders", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonPodsWithoutSidecar,
		"2 pods run without a sidecar", pods[0].Name, pods[1].Name, advice)
	get(t, url+"/").wantStatus(t, 200)
	s.follow(advice)
	s.rolledOut("orders")
	s.enforced("orders", 2)
	eventuallyStatus(t, http.StatusForbidden, url+"/")

	t.Run("conflict", func(t *testing.T) { s.in(t).checkConflict() })
	t.Run("deleted", func(t *testing.T) { s.in(t).checkDeleted() })
	t.Run("rollout Automatic", func(t *testing.T) { s.in(t).checkAutomatic() })
}

// follow runs a command from a condition's message.
func (s *space) follow(advice string) {
	s.t.Helper()
	if _, err := kubectl(strings.Fields(advice)[1:]...); err != nil {
		s.t.Fatal(err)
	}
}

// checkConflict: of two policies for the same pods the older one applies. The newer one reports this until the older one is
// deleted.
func (s *space) checkConflict() {
	s.apply(denied, "NAME", "younger", "LABEL", "app: orders", "ROLLOUT", "Manual", "default: Deny", "default: Anonymous")
	s.hasCondition("younger", v1alpha1.ConditionAccepted, metav1.ConditionFalse, v1alpha1.ReasonConflicted, `"orders"`)
	s.enforced("orders", 2)
	for _, p := range s.pods("orders") {
		get(s.t, podURL(&p, appPort)+"/").wantStatus(s.t, 403)
	}
	s.delete(&v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "younger"}})
	s.enforced("orders", 2)
}

// checkDeleted: deleting a policy removes its rules. Running pods pass traffic through, and new pods get no sidecar.
func (s *space) checkDeleted() {
	url, before := s.serviceURL("orders"), s.pods("orders")
	s.delete(&v1alpha1.SecurityPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "orders"}})
	for i := range before {
		eventuallyStatus(s.t, http.StatusOK, podURL(&before[i], appPort)+"/")
	}
	if _, err := kubectl("rollout", "restart", "deployment/orders", "-n", s.name); err != nil {
		s.t.Fatal(err)
	}
	s.rolledOut("orders")
	eventuallyStatus(s.t, http.StatusOK, url+"/")
	eventually(s.t, "waiting for the old pods to be deleted", func() error {
		list := &corev1.PodList{}
		if err := s.c.List(s.t.Context(), list, client.InNamespace(s.name), client.MatchingLabels{"app": "orders"}); err != nil {
			return err
		}
		for i := range list.Items {
			if n := len(list.Items[i].Spec.InitContainers); n != 0 {
				return fmt.Errorf("pod %s has %d init containers", list.Items[i].Name, n)
			}
		}
		return nil
	})
}

// checkAutomatic: the operator restarts workloads that run without a sidecar.
func (s *space) checkAutomatic() {
	s.apply(denied, "NAME", "orders", "LABEL", "app: orders", "ROLLOUT", "Automatic")
	s.enforced("orders", 2)
	eventuallyStatus(s.t, http.StatusForbidden, s.serviceURL("orders")+"/")
}
