//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// open is a policy whose X-Round header shows which of its versions a pod enforces.
const open = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: orders}
spec:
  selector: {matchLabels: {app: orders}}
  headers: {preset: API, set: [{name: X-Round, value: 'ROUND'}]}
`

// testHotReload: pods enforce a changed policy soon after it is applied, and no request fails. A document that a sidecar cannot
// run leaves the previous one active.
func testHotReload(t *testing.T) {
	s := newSpace(t)
	s.apply(open, "ROUND", "0")
	s.deploy("orders", 2)
	s.rolledOut("orders")
	s.enforced("orders", 2)
	url, pods := s.serviceURL("orders"), s.pods("orders")
	eventuallyStatus(t, http.StatusOK, url+"/")

	load := startLoad(t, 200, url+"/", nil)
	load.wait(200)
	var delays []time.Duration
	for round := range 8 {
		delays = append(delays, s.reload(pods, fmt.Sprint(round+1)))
		load.wait(100)
	}
	sent := load.stop()
	slices.Sort(delays)
	measured(t, "hot reload: from apply to the last of %d pods enforcing: median %v, longest %v, of %d changes under load; %d requests, none failed",
		len(pods), delays[len(delays)/2], delays[len(delays)-1], len(delays), sent)
	// The goal is 2 s. A machine that is also busy with other work gets much more time.
	if longest := delays[len(delays)-1]; longest > 30*time.Second {
		t.Errorf("a change took %v: it came from the mounted file, not from the long poll", longest)
	}
	s.enforced("orders", 2)
	s.checkRefusedDocument(pods)
	if now := s.pods("orders"); now[0].UID != pods[0].UID || now[1].UID != pods[1].UID {
		t.Error("pods were restarted")
	}
}

// reload applies a version and returns the time until every pod responded with it.
func (s *space) reload(pods []corev1.Pod, round string) time.Duration {
	s.t.Helper()
	start := time.Now()
	s.apply(open, "ROUND", round)
	for i := range pods {
		s.waitRound(&pods[i], round)
	}
	return since(start)
}

func (s *space) waitRound(pod *corev1.Pod, round string) {
	s.t.Helper()
	client := newHTTPClient(true)
	defer client.CloseIdleConnections()
	url := podURL(pod, appPort) + "/"
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got, err := sendBy(s.t, client, http.MethodGet, url, ""); err == nil && got.header.Get("X-Round") == round {
			return
		}
	}
	s.t.Fatalf("pod %s does not enforce version %s", pod.Name, round)
}

// checkRefusedDocument: no container has the port that the policy names. Only the sidecars can know that.
func (s *space) checkRefusedDocument(pods []corev1.Pod) {
	s.t.Helper()
	bad := strings.Replace(open, "headers:", "ports: [{port: nowhere}]\n  headers:", 1)
	s.apply(bad, "ROUND", "bad")
	s.hasCondition("orders", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonRefusedBySidecar, `"nowhere"`)
	s.hasCondition("orders", v1alpha1.ConditionAccepted, metav1.ConditionTrue, v1alpha1.ReasonAccepted)
	for i := range pods {
		got := get(s.t, podURL(&pods[i], appPort)+"/").wantStatus(s.t, 200)
		if round := got.header.Get("X-Round"); round != "8" {
			s.t.Errorf("pod %s enforces version %q, want the last good one", pods[i].Name, round)
		}
	}
	good := strings.Replace(open, "headers:", "ports: [{port: http}]\n  headers:", 1)
	s.apply(good, "ROUND", "good")
	for i := range pods {
		s.waitRound(&pods[i], "good")
	}
	s.enforced("orders", len(pods))
}
