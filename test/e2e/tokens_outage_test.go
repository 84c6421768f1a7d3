//go:build e2e

package e2e

import (
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// testTokensOutage: Redis becomes unavailable and comes back empty. Then Vault is sealed. No request is wrongly allowed, nothing
// crashes, and operations that need only Vault recover without a restart.
func testTokensOutage(t *testing.T) {
	// Without any privilege, too.
	s := newShop(t, v1alpha1.InterceptTakeover, []string{"pod-security.kubernetes.io/enforce=restricted"}, restricted, env("LISTEN", "127.0.0.1:8080"))
	t.Run("redis", func(t *testing.T) { s.redisOutage(t) })
	t.Run("vault", func(t *testing.T) { s.vaultOutage(t) })
	t.Run("vaultRefuses", func(t *testing.T) { s.vaultRefuses(t) })
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

	s.scaleRedis(1) // empty, because it does not persist
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
	s.hasCondition("accounts", v1alpha1.ConditionVaultReady, metav1.ConditionFalse, v1alpha1.ReasonVaultSealed)
	s.hasCondition("accounts", v1alpha1.ConditionSigningKeyReady, metav1.ConditionFalse, v1alpha1.ReasonSigningKeyUnavailable) // Transit signs in Vault
	for _, url := range s.urls {
		get(t, url+"/whoami", bearer(tk.Access)).wantStatus(t, http.StatusOK)
		if _, got := s.login(t, url, "grace", firefox); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("a login while Vault is sealed: %d %s", got.status, got.body)
		}
		if _, got := s.refresh(t, url, tk.Refresh); got.status != http.StatusServiceUnavailable {
			t.Errorf("a refresh while Vault is sealed: %d %s", got.status, got.body)
		}
	}
	if out, err := exec.Command("go", "run", "../../hack/vault", "unseal").CombinedOutput(); err != nil {
		t.Fatalf("unsealing: %v: %s", err, out)
	}
	s.hasCondition("accounts", v1alpha1.ConditionVaultReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	get(t, s.urls[1]+"/whoami", bearer(tk.Access)).wantStatus(t, http.StatusOK)
	eventually(t, "logging in when Vault is unsealed", func() error {
		_, got := s.login(t, s.urls[0], "grace", firefox)
		if got.status != http.StatusOK {
			return errStatus(got)
		}
		return nil
	})
}

// vaultRefuses: each configuration mistake with Vault has its own condition, and is fixed without a restart.
func (s *shop) vaultRefuses(t *testing.T) {
	signing := func(signing, rest string) {
		manifest := strings.Replace(accounts, "{transit: {key: KEY}}", signing, 1) + rest
		s.apply(manifest, "CLASS", s.name, "KEY", s.name)
	}
	for name, mistake := range map[string]struct{ signing, rest, wantReason string }{
		"unknown role":        {"{transit: {key: KEY}}", "  vaultRole: nobody\n", v1alpha1.ReasonVaultWrongRole},
		"forbidden path":      {"{vault: {path: secret/private/key, key: pem}}", "", v1alpha1.ReasonVaultPermissionDenied},
		"unknown Transit key": {"{transit: {key: nothing-of-the-kind}}", "", v1alpha1.ReasonVaultRefused},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shop{space: s.in(t), vault: s.vault, urls: s.urls}
			signing(mistake.signing, mistake.rest)
			s.hasCondition("accounts", v1alpha1.ConditionVaultReady, metav1.ConditionFalse, mistake.wantReason)
			s.hasCondition("accounts", v1alpha1.ConditionSigningKeyReady, metav1.ConditionFalse, v1alpha1.ReasonSigningKeyUnavailable)
			if _, got := s.login(t, s.urls[0], "ada", firefox); got.status != http.StatusServiceUnavailable {
				t.Errorf("a login without a key: %d %s", got.status, got.body)
			}
			get(t, s.urls[0]+"/public/x").wantStatus(t, http.StatusOK)
		})
	}
	signing("{transit: {key: KEY}}", "")
	s.hasCondition("accounts", v1alpha1.ConditionVaultReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	s.hasCondition("accounts", v1alpha1.ConditionSigningKeyReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
	s.mustLogin(t, s.urls[0], "ada", firefox)
}
