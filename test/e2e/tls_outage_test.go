//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"os/exec"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// fresh is a policy whose only certificate is of PKI. SPACE is a placeholder.
const fresh = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: fresh}
spec:
  selector: {matchLabels: {app: fresh}}
  sidecarClassName: SPACE
  tls: {mode: Require, certificates: [{vault: {pki: {mount: pki, role: SPACE, commonName: fresh.SPACE.svc, ttl: 5m}}}]}
`

// testTLSOutage: Vault is sealed when a certificate of PKI should be renewed. The last one stays in use. A sidecar that starts meanwhile has none: it serves
// the certificate of the Secret, or waits, not ready, if the policy has no other one.
func testTLSOutage(t *testing.T) {
	s := newTLSShop(t, 75*time.Second)
	last, public := s.leaf(0, s.ownName), s.leaf(0, publicName)
	if err := s.vault.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	sealed := time.Now()
	t.Cleanup(func() { _ = exec.Command("go", "run", "../../hack/vault", "unseal").Run() })
	s.hasCondition("orders", v1alpha1.ConditionVaultReady, metav1.ConditionFalse, v1alpha1.ReasonVaultSealed)
	s.hasCondition("orders", v1alpha1.ConditionCertificateReady, metav1.ConditionFalse, v1alpha1.ReasonRefreshFails, "pki/pki/"+s.name, "sealed")
	s.warned("orders", v1alpha1.ReasonRefreshFails)
	then := s.settings(s.ownName)
	then.Time = func() time.Time { return last.NotBefore.Add(time.Second) } // however slow this machine is
	if state, err := s.shown(0, then); err != nil || !state.PeerCertificates[0].Equal(last) {
		t.Errorf("the last certificate is not kept: %v", err)
	}
	for pod := range s.addresses {
		if got, err := s.request(pod, "/public/x", nil); err != nil || got.status != http.StatusOK {
			t.Errorf("%v: %d %s", err, got.status, got.body)
		}
	}
	s.apply(fresh, "SPACE", s.name)
	s.create(pod(s.name, "fresh"))
	s.restartWhileSealed(public.SerialNumber.String())
	s.hasCondition("fresh", v1alpha1.ConditionCertificateReady, metav1.ConditionFalse, v1alpha1.ReasonCertificateUnavailable, "sealed")
	if p := s.pods("fresh")[0]; ready(&p) {
		t.Error("a pod is ready without a certificate")
	}
	if out, err := exec.Command("go", "run", "../../hack/vault", "unseal").CombinedOutput(); err != nil {
		t.Fatalf("unsealing: %v: %s", err, out)
	}
	unsealed := time.Now()
	s.hasCondition("orders", v1alpha1.ConditionCertificateReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	s.hasCondition("orders", v1alpha1.ConditionVaultReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	s.ready("fresh")
	for pod := range s.addresses {
		if s.leaf(pod, s.ownName).Equal(last) {
			t.Error("the certificate was not renewed")
		}
	}
	measured(t, "Vault sealed for %v: the certificate of PKI is kept, and renewed %v after the end", unsealed.Sub(sealed).Round(time.Second), since(unsealed))
}

// restartWhileSealed kills the sidecar of the second pod.
func (s *tlsShop) restartWhileSealed(public string) {
	s.t.Helper()
	p := s.pods("orders")[1]
	restarts := s.sidecarStatus(&p).RestartCount
	s.kill(&p)
	eventually(s.t, "waiting for the sidecar to start again", func() error {
		if s.sidecarStatus(&p).RestartCount == restarts {
			return errors.New("it has not")
		}
		state, err := s.shown(1, s.settings(publicName))
		if err == nil && state.PeerCertificates[0].SerialNumber.String() != public {
			err = errors.New("it shows another certificate")
		}
		return err
	})
	if _, err := s.shown(1, s.settings(s.ownName)); err == nil {
		s.t.Error("it shows a certificate of PKI, which it cannot have")
	}
	s.hasCondition("orders", v1alpha1.ConditionCertificateReady, metav1.ConditionFalse, v1alpha1.ReasonCertificateUnavailable, p.Name)
}
