//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// testShadow: a policy in mode Shadow refuses no request, and counts those that it would have refused.
func testShadow(t *testing.T) {
	s, id := newSpace(t), newIssuer(t)
	const limit = "  rateLimits: [{name: few, limit: 3/day, keyBy: [{type: Header, name: X-Caller}]}]\n"
	s.apply(guarded+limit+"  mode: Shadow\n", "JWKS", id.jwks())
	s.create(pod(s.name, "orders"))
	p := s.ready("orders")
	s.hasCondition("orders", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonShadow)
	for range 5 {
		get(t, podURL(p, appPort)+"/").wantStatus(t, 200)
	}
	get(t, podURL(p, appPort)+"/", bearer("nonsense"), "X-Auth-Subject: root").wantStatus(t, 200)
	for _, want := range []string{`code="no-credentials",mode="shadow"`, `code="rate-limited",mode="shadow"`} {
		eventually(t, "waiting for the metrics", func() error { return hasDecision(t, p, want) })
	}
	s.apply(guarded+limit+"  mode: Enforce\n", "JWKS", id.jwks())
	s.enforced("orders", 1)
	get(t, podURL(p, appPort)+"/", "X-Caller: another").wantStatus(t, 401)
}

// hasDecision returns an error if the sidecar has not counted a decision with these labels.
func hasDecision(t *testing.T, p *corev1.Pod, labels string) error {
	got, err := send(t, "GET", podURL(p, 15991)+"/metrics", "")
	if err != nil {
		return err
	}
	for line := range strings.Lines(got.body) {
		if strings.HasPrefix(line, "postern_decisions_total{") && strings.Contains(line, labels) {
			return nil
		}
	}
	return fmt.Errorf("no decision is counted with %s", labels)
}
