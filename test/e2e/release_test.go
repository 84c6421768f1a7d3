//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const chart = "../../charts/postern"

// testRelease: Helm's own test passes. An upgrade and an uninstallation leave running workloads served and guarded. After a new
// installation they are managed again.
func testRelease(t *testing.T) {
	s := newSpace(t)
	values := helmValues(t)
	s.apply(versioned, "ROUND", "1")
	s.deploy("orders", 2)
	s.rolledOut("orders")
	s.enforced("orders", 2)
	url := s.serviceURL("orders")
	eventuallyStatus(t, http.StatusOK, url+"/public/x")

	t.Run("test", func(t *testing.T) {
		if out, err := helm("test", "postern", "-n", systemNamespace, "--timeout", "5m"); err != nil {
			logs, _ := kubectl("logs", "-n", systemNamespace, "postern-test", "--all-containers")
			t.Errorf("%v\n%s\n%s", err, out, logs)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		s, load := s.in(t), startLoad(t, 50, url+"/public/x", nil)
		mustHelm(t, "upgrade", "postern", chart, "-n", systemNamespace, "--values", values, "--set", "operator.logLevel=debug", "--wait", "--timeout", "5m")
		s.apply(versioned, "ROUND", "2")
		s.enforced("orders", 2)
		load.wait(50)
		measured(t, "helm upgrade under load: %d requests, none failed", load.stop())
		for _, p := range s.pods("orders") {
			s.wantRound(&p, "2")
		}
	})
	t.Run("uninstall", func(t *testing.T) {
		s, load := s.in(t), startLoad(t, 50, url+"/public/x", nil)
		before := s.pods("orders")
		mustHelm(t, "uninstall", "postern", "-n", systemNamespace, "--wait", "--timeout", "5m")
		s.leavesNoWebhook()
		load.wait(200)
		measured(t, "helm uninstall under load: %d requests, none failed", load.stop())
		for i := range before {
			s.wantRound(&before[i], "2")
		}
		if got := s.policy("orders"); got.DeletionTimestamp != nil {
			t.Error("the policy was deleted with the chart")
		}
	})
	t.Run("install again", func(t *testing.T) {
		s := s.in(t)
		mustHelm(t, "install", "postern", chart, "-n", systemNamespace, "--values", values, "--wait", "--timeout", "5m")
		s.apply(versioned, "ROUND", "3")
		for _, p := range s.pods("orders") {
			s.waitRound(&p, "3")
		}
		s.hasCondition("orders", "Accepted", metav1.ConditionTrue, "Accepted")
	})
}

// leavesNoWebhook: a webhook without an operator would prevent new pods in every labelled namespace.
func (s *space) leavesNoWebhook() {
	s.t.Helper()
	out, err := kubectl("get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "name")
	if err != nil || strings.Contains(out, "postern") {
		s.t.Errorf("webhooks are left: %v\n%s", err, out)
	}
}

// helmValues writes the values of the release to a file, to install it again with the same values.
func helmValues(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(mustHelm(t, "get", "values", "postern", "-n", systemNamespace, "-o", "yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func helm(args ...string) (string, error) {
	out, err := exec.Command("helm", args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

func mustHelm(t *testing.T, args ...string) string {
	t.Helper()
	out, err := helm(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
