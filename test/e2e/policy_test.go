//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// ofCorp starts a policy for the pods with the label app=orders, with the provider corp. Further fields of the provider may
// follow. JWKS stands for the issuer's keys.
const ofCorp = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: orders}
spec:
  selector: {matchLabels: {app: orders}}
  jwt:
    providers:
    - name: corp
      issuer: ` + issuerName + `
      audiences: [orders]
      algorithms: [ES256]
      jwks: {inline: 'JWKS'}
      maxLifetime: 1h
`

// guarded is such a policy, which passes the identity to the app. Sections of spec may follow.
const guarded = ofCorp + `      claimsToHeaders: [{claim: sub, header: X-Auth-Subject}, {claim: realm.roles, header: X-Auth-Roles}]
      forwardToken: true
`

// policy reads a policy.
func (s *space) policy(name string) *v1alpha1.SecurityPolicy {
	s.t.Helper()
	p := &v1alpha1.SecurityPolicy{}
	if err := s.c.Get(s.t.Context(), s.key(name), p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// hasCondition waits until the current generation of the policy has a condition with this status and reason, and texts are in
// its message.
func (s *space) hasCondition(policy, kind string, status metav1.ConditionStatus, reason string, texts ...string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("waiting for %s=%s %s of policy %s", kind, status, reason, policy), func() error {
		p := &v1alpha1.SecurityPolicy{}
		if err := s.c.Get(s.t.Context(), s.key(policy), p); err != nil {
			return err
		}
		c := meta.FindStatusCondition(p.Status.Conditions, kind)
		switch {
		case c == nil:
			return fmt.Errorf("it has no such condition")
		case c.ObservedGeneration != p.Generation:
			return fmt.Errorf("it is about generation %d, not %d", c.ObservedGeneration, p.Generation)
		case c.Status != status || c.Reason != reason:
			return fmt.Errorf("it is %s %s: %s", c.Status, c.Reason, c.Message)
		}
		for _, text := range texts {
			if !strings.Contains(c.Message, text) {
				return fmt.Errorf("%q is not in its message: %s", text, c.Message)
			}
		}
		return nil
	})
}

// enforced waits until the policy is reported as enforced in the given number of pods.
func (s *space) enforced(policy string, pods int) {
	s.t.Helper()
	summary := fmt.Sprintf("%d/%d", pods, pods)
	eventually(s.t, "waiting for policy "+policy+" to be enforced", func() error {
		p := &v1alpha1.SecurityPolicy{}
		if err := s.c.Get(s.t.Context(), s.key(policy), p); err != nil {
			return err
		}
		for _, kind := range []string{v1alpha1.ConditionAccepted, v1alpha1.ConditionProgrammed, v1alpha1.ConditionEnforced} {
			c := meta.FindStatusCondition(p.Status.Conditions, kind)
			if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != p.Generation {
				return fmt.Errorf("generation %d: %s is %+v", p.Generation, kind, c)
			}
		}
		if p.Status.Pods == nil || p.Status.Pods.Summary != summary {
			return fmt.Errorf("pods are %+v, want %s", p.Status.Pods, summary)
		}
		return nil
	})
}

// since returns the time since start, rounded to milliseconds.
func since(start time.Time) time.Duration { return time.Since(start).Round(time.Millisecond) }
