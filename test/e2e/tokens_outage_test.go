//go:build e2e

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// testTokensOutage: Redis goes in the middle of things, and comes back empty; then Vault is sealed. Nothing opens, nothing
// crashes, and what Vault alone was needed for comes back by itself.
func testTokensOutage(t *testing.T) {
	s := newShop(t)
	t.Run("redis", func(t *testing.T) { s.redisOutage(t) })
	t.Run("vault", func(t *testing.T) { s.vaultOutage(t) })
	for _, pod := range s.pods("accounts") {
		for _, c := range pod.Status.InitContainerStatuses {
			if c.RestartCount > 0 {
				t.Errorf("pod %s: container %s was restarted %d times", pod.Name, c.Name, c.RestartCount)
			}
		}
	}
}

func (s *shop) redisOutage(t *testing.T) {
	alive, thief := s.mustLogin(t, s.urls[0], "ada", firefox), s.mustLogin(t, s.urls[0], "mallory", firefox)
	get(t, s.urls[1]+"/whoami", bearer(alive.Access)).wantStatus(t, http.StatusOK)
	s.apply(revokedSubject, "NAME", "before", "SUBJECT", "mallory")
	s.refusedBy(t, thief.Access, "token-revoked")

	s.scaleRedis(0)
	for _, url := range s.urls {
		got := eventuallyStatus(t, http.StatusServiceUnavailable, url+"/whoami", bearer(alive.Access))
		if got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "-unavailable") {
			t.Errorf("without Redis: %v %s", got.header, got.body)
		}
		get(t, url+"/public/x").wantStatus(t, http.StatusOK)
		get(t, url+"/whoami").wantStatus(t, http.StatusUnauthorized)
		get(t, url+"/whoami", bearer(thief.Access)).wantStatus(t, http.StatusUnauthorized)
		get(t, url+"/.well-known/jwks.json").wantStatus(t, http.StatusOK)
		if _, got := s.login(t, url, "ada", firefox); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("a login without Redis: %d %v %s", got.status, got.header, got.body)
		}
		if _, got := s.refresh(t, url, alive.Refresh); got.status != http.StatusServiceUnavailable {
			t.Errorf("a refresh without Redis: %d %s", got.status, got.body)
		}
		do(t, http.MethodPost, url+"/auth/logout", "", bearer(alive.Access)).wantStatus(t, http.StatusServiceUnavailable)
	}
	// A revocation by manifest needs no Redis.
	s.apply(revokedSubject, "NAME", "meanwhile", "SUBJECT", "ada")
	s.refusedBy(t, alive.Access, "token-revoked")
	s.revoked("meanwhile", "2/2")
	s.hasCondition("accounts", v1alpha1.ConditionSharedState, metav1.ConditionFalse, v1alpha1.ReasonRedisUnavailable)

	s.scaleRedis(1) // with nothing in it: it keeps nothing on disk
	s.hasCondition("accounts", v1alpha1.ConditionSharedState, metav1.ConditionTrue, v1alpha1.ReasonRedis)
	time.Sleep(time.Second)
	for _, url := range s.urls {
		get(t, url+"/whoami", bearer(alive.Access)).wantStatus(t, http.StatusUnauthorized)
		fresh := s.mustLogin(t, url, "ada", firefox)
		for _, other := range s.urls {
			eventuallyStatus(t, http.StatusOK, other+"/whoami", bearer(fresh.Access))
		}
	}
}

func (s *shop) vaultOutage(t *testing.T) {
	tk := s.mustLogin(t, s.urls[0], "grace", firefox)
	if err := s.vault.Sys().Seal(); err != nil {
		t.Fatal(err)
	}
	// What is in memory can be unsealed by nobody who has not its key: the pod is made anew, and set up again.
	s.hasCondition("accounts", v1alpha1.ConditionVaultReady, metav1.ConditionFalse, v1alpha1.ReasonVaultSealed)
	for _, url := range s.urls {
		get(t, url+"/whoami", bearer(tk.Access)).wantStatus(t, http.StatusOK)
		if _, got := s.login(t, url, "grace", firefox); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("a login while Vault is sealed: %d %s", got.status, got.body)
		}
		if _, got := s.refresh(t, url, tk.Refresh); got.status != http.StatusServiceUnavailable {
			t.Errorf("a refresh while Vault is sealed: %d %s", got.status, got.body)
		}
	}
	if out, err := kubectl("rollout", "restart", "deployment/vault", "-n", vaultNamespace); err != nil {
		t.Fatal(out, err)
	}
	if out, err := kubectl("rollout", "status", "deployment/vault", "-n", vaultNamespace, "--timeout=180s"); err != nil {
		t.Fatal(out, err)
	}
	s.vault = openVault(t)
	s.hasCondition("accounts", v1alpha1.ConditionVaultReady, metav1.ConditionFalse, v1alpha1.ReasonVaultRefused) // the key is gone
	s.vault.makeKey(t, s.name)
	s.vault.put(t, "e2e/"+s.name, map[string]any{"redis-password": s.redisPassword()})
	s.hasCondition("accounts", v1alpha1.ConditionVaultReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	get(t, s.urls[1]+"/whoami", bearer(tk.Access)).wantStatus(t, http.StatusOK)
	eventually(t, "logging in with Vault back", func() error {
		_, got := s.login(t, s.urls[0], "grace", firefox)
		if got.status != http.StatusOK {
			return errStatus(got)
		}
		return nil
	})
}
