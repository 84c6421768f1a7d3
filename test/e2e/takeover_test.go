//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/v1alpha1"
)

// restricted sets what Pod Security level restricted requires of a pod.
func restricted(spec *corev1.PodSpec) {
	spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	for i := range spec.Containers {
		spec.Containers[i].SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
}

// testTakeover: without privileges the sidecar takes over the app's port at the pod's address.
func testTakeover(t *testing.T) {
	s, id := newSpace(t, "pod-security.kubernetes.io/enforce=restricted"), newIssuer(t)
	s.apply(guarded, "JWKS", id.jwks())
	err := s.c.Create(t.Context(), pod(s.name, "orders", restricted))
	if err == nil || !strings.Contains(err.Error(), "Takeover") || !strings.Contains(err.Error(), "restricted") {
		t.Errorf("Redirect in a restricted namespace: %v, want a refusal that names Takeover", err)
	}

	s.apply(guarded+"  interception: Takeover\n", "JWKS", id.jwks())
	s.deploy("orders", 1, restricted, env("LISTEN", "127.0.0.1:8080"))
	s.rolledOut("orders")
	s.enforced("orders", 1)
	victim := s.pods("orders")[0]
	t.Run("tokens", func(t *testing.T) { checkTokens(t, id, s.serviceURL("orders"), podURL(&victim, appPort)) })
	t.Run("identity", func(t *testing.T) {
		got := get(t, s.serviceURL("orders")+"/", bearer(id.token("ann")), "X-Auth-Subject: root").wantStatus(t, 200).seen(t)
		if v := got.Headers.Get("X-Auth-Subject"); v != "ann" {
			t.Errorf("the app saw subject %q", v)
		}
	})
	t.Run("wildcard", func(t *testing.T) { s.in(t).checkWildcard(id) })
	t.Run("extra listener", func(t *testing.T) { s.in(t).checkExtraListener() })
}

// checkWildcard: an app that listens on all addresses fails because its port is in use.
func (s *space) checkWildcard(id *issuer) {
	s.apply(strings.ReplaceAll(guarded, "orders}", "wild}")+"  interception: Takeover\n", "JWKS", id.jwks())
	p := pod(s.name, "wild", restricted)
	s.create(p)
	eventually(s.t, "waiting for the app's bind to fail", func() error {
		out, err := kubectl("logs", "-n", s.name, p.Name, "-c", "app")
		if err == nil && !strings.Contains(out, "address already in use") {
			err = fmt.Errorf("it says: %s", out)
		}
		return err
	})
	s.delete(p)
}

// checkExtraListener: other listeners of the app are reachable, and the policy does not claim otherwise.
func (s *space) checkExtraListener() {
	s.apply(`
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: leaky}
spec:
  selector: {matchLabels: {app: leaky}}
  interception: Takeover
  authorization: {default: Deny}
`)
	s.create(pod(s.name, "leaky", restricted, env("LISTEN", "127.0.0.1:8080"), env("EXTRA_LISTEN", ":9999")))
	leaky := s.ready("leaky")
	s.hasCondition("leaky", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonReachableAround, "9999", "127.0.0.1")
	get(s.t, podURL(leaky, appPort)+"/").wantStatus(s.t, 403)
}
