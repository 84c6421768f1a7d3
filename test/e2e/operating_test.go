//go:build e2e

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posterndev/postern/api/v1alpha1"
)

// testOperating: what people on call see with the command, of a policy that is enforced, one without pods, one with a pod that has no sidecar,
// and without Redis.
func testOperating(t *testing.T) {
	s := newSpace(t)
	s.apply(limits)
	s.deploy("orders", 2)
	s.rolledOut("orders")
	s.enforced("orders", 2)
	t.Run("enforced", func(t *testing.T) { s.in(t).seeEnforced() })
	t.Run("withoutPods", func(t *testing.T) { s.in(t).seeWithoutPods() })
	t.Run("unguarded", func(t *testing.T) { s.in(t).seeUnguarded() })
	t.Run("withoutRedis", func(t *testing.T) { s.in(t).seeWithoutRedis() })
}

// see runs kubectl postern, and checks its exit code and that texts are in what it prints.
func (s *space) see(code int, args []string, texts ...string) string {
	s.t.Helper()
	c := exec.Command("kubectl", append([]string{"postern"}, args...)...)
	c.Env = append(os.Environ(), "PATH="+filepath.Dir(postern(s.t))+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := c.CombinedOutput()
	if c.ProcessState == nil || c.ProcessState.ExitCode() != code {
		s.t.Errorf("kubectl postern %s: %v, want exit code %d", strings.Join(args, " "), err, code)
	}
	s.t.Logf("kubectl postern %s:\n%s", strings.Join(args, " "), out)
	for _, text := range texts {
		if !strings.Contains(string(out), text) {
			s.t.Errorf("kubectl postern %s: %q is not in\n%s", strings.Join(args, " "), text, out)
		}
	}
	return string(out)
}

func (s *space) seeEnforced() {
	for _, args := range [][]string{{"status"}, {"status", "-o", "wide"}, {"status", "orders"}} {
		s.see(0, append(args, "-n", s.name))
	}
	var seen map[string]any
	if err := json.Unmarshal([]byte(s.see(0, []string{"status", "-n", s.name, "-o", "json"})), &seen); err != nil {
		s.t.Error(err)
	}
	load := startLoad(s.t, 20, podURL(&s.pods("orders")[0], appPort)+"/free", nil)
	s.see(0, []string{"top", "-n", s.name, "--by-pod"})
	s.see(0, []string{"top", "-n", s.name, "--addresses", "-o", "json"})
	load.stop()
	s.see(0, []string{"doctor", "-n", s.name})
}

func (s *space) seeWithoutPods() {
	s.apply(denied, "NAME", "billing", "LABEL", "app: billing", "ROLLOUT", "Manual")
	s.hasCondition("billing", v1alpha1.ConditionEnforced, "Unknown", v1alpha1.ReasonNoPods)
	s.see(0, []string{"status", "-n", s.name})
	s.see(0, []string{"status", "billing", "-n", s.name})
}

func (s *space) seeUnguarded() {
	// A pod that was there before the policy.
	p := pod(s.name, "legacy")
	s.create(p)
	s.ready("legacy")
	s.apply(denied, "NAME", "legacy", "LABEL", "app: legacy", "ROLLOUT", "Manual")
	s.hasCondition("legacy", v1alpha1.ConditionEnforced, "False", v1alpha1.ReasonPodsWithoutSidecar)
	s.see(2, []string{"status", "-n", s.name})
	s.see(2, []string{"status", "legacy", "-n", s.name})
	s.see(2, []string{"status", "-n", s.name, "-o", "wide"})
	s.see(0, []string{"doctor", "-n", s.name})
	s.delete(&v1alpha1.SecurityPolicy{ObjectMeta: s.policy("legacy").ObjectMeta})
}

func (s *space) seeWithoutRedis() {
	s.scaleRedis(0)
	for _, p := range s.pods("orders") {
		eventuallyStatus(s.t, http.StatusServiceUnavailable, podURL(&p, appPort)+"/strict", "X-Caller: away")
	}
	s.see(0, []string{"status", "-n", s.name})
	s.see(0, []string{"top", "-n", s.name})
	s.see(2, []string{"doctor", "-n", s.name})
	s.scaleRedis(1)
}
