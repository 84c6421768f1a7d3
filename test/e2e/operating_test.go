//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	pods := s.pods("orders")
	s.see(0, []string{"status", "-n", s.name}, "orders  yes       2/2 ", "rateLimits(2)")
	s.see(0, []string{"status", "orders", "-n", s.name}, pods[0].Name, pods[1].Name)
	s.see(0, []string{"status", "-n", s.name, "-o", "wide"}, "default  Redirect ", "app=orders ", "deployment/orders 2/2", pods[0].Name+"  orders  yes ", "docker.io/postern/sidecar:dev")
	var seen struct {
		Enforced bool
		Policies []struct {
			Name, State      string
			Matched, Current int
		}
	}
	if err := json.Unmarshal([]byte(s.see(0, []string{"status", "-n", s.name, "-o", "json"})), &seen); err != nil {
		s.t.Error(err)
	}
	if p := seen.Policies; !seen.Enforced || len(p) != 1 || p[0].Name != "orders" || p[0].State != "Enforced" || p[0].Matched != 2 || p[0].Current != 2 {
		s.t.Errorf("the status as JSON is %+v", seen)
	}
	load := startLoad(s.t, 20, podURL(&pods[0], appPort)+"/free", nil)
	load.wait(20)
	s.see(0, []string{"top", "-n", s.name, "--by-pod"}, "orders  "+pods[0].Name, "orders  "+pods[1].Name+"  0.00 ")
	var top struct {
		Total struct {
			Pods, Answered int
			Requests       float64
		}
	}
	if err := json.Unmarshal([]byte(s.see(0, []string{"top", "-n", s.name, "--addresses", "-o", "json"})), &top); err != nil {
		s.t.Error(err)
	}
	if top.Total.Pods != 2 || top.Total.Answered != 2 || top.Total.Requests == 0 {
		s.t.Errorf("the top as JSON is %+v", top)
	}
	load.stop()
	s.see(0, []string{"doctor", "-n", s.name}, "ok       operator  ", "ok       webhook ", "ok       dry-run           a pod that policy "+s.name+"/orders selects gets its sidecar",
		"sidecars report no problem with Redis", "0 problems")
}

func (s *space) seeWithoutPods() {
	s.apply(denied, "NAME", "billing", "LABEL", "app: billing", "ROLLOUT", "Manual")
	s.hasCondition("billing", v1alpha1.ConditionEnforced, metav1.ConditionUnknown, v1alpha1.ReasonNoPods)
	for _, args := range [][]string{{"status", "-n", s.name}, {"status", "billing", "-n", s.name}} {
		s.see(0, args, "billing  no pods   0/0 ", "billing: no running pod matches the selector app=billing", "$ kubectl get pods -n "+s.name+" --show-labels")
	}
}

// seeUnguarded: a pod that was there before its policy.
func (s *space) seeUnguarded() {
	s.create(pod(s.name, "legacy"))
	s.ready("legacy")
	s.apply(denied, "NAME", "legacy", "LABEL", "app: legacy", "ROLLOUT", "Manual")
	s.hasCondition("legacy", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonPodsWithoutSidecar)
	for _, args := range [][]string{{"status", "-n", s.name}, {"status", "legacy", "-n", s.name}, {"status", "-n", s.name, "-o", "wide"}} {
		s.see(2, args, "NO        0/1 ", "PodsWithoutSidecar", "error    legacy: pod legacy: no sidecar", "$ kubectl delete pod legacy -n "+s.name)
	}
	s.see(2, []string{"doctor", "-n", s.name}, "PROBLEM  sidecars ", "no sidecar, so nothing guards what a policy selects", s.name+"/legacy", "$ postern status -A")
	s.delete(s.policy("legacy"))
}

func (s *space) seeWithoutRedis() {
	s.scaleRedis(0)
	s.hasCondition("orders", v1alpha1.ConditionSharedState, metav1.ConditionFalse, v1alpha1.ReasonRedisUnavailable, "2 sidecars report")
	s.see(0, []string{"status", "-n", s.name}, "orders   yes       2/2 ", "warning  orders: 2 sidecars report RedisUnavailable", "postern-redis.postern-system.svc:6379", "$ kubectl logs ")
	s.see(0, []string{"top", "-n", s.name}, "orders  2/2 ")
	s.see(2, []string{"doctor", "-n", s.name}, "PROBLEM  redis  ", "redis is unavailable")
	s.scaleRedis(1)
}
