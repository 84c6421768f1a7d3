//go:build e2e

package e2e

import (
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// testRollingRestart: pods with sidecars are replaced under load, and no request fails.
func testRollingRestart(t *testing.T) {
	s := newSpace(t)
	s.apply(open, "ROUND", "0")
	s.deploy("orders", 2, func(spec *corev1.PodSpec) {
		// Time for the Service to remove the pod, as any app needs that restarts without failed requests.
		spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 5}}}
	})
	s.rolledOut("orders")
	s.enforced("orders", 2)
	url := s.serviceURL("orders")
	eventuallyStatus(t, http.StatusOK, url+"/")

	// These requests take a while, so that some are in progress whenever a pod ends.
	load, slow := startLoad(t, 100, url+"/", nil), startLoad(t, 10, url+"/slow?ms=300", nil)
	load.wait(100)
	before := s.pods("orders")
	if _, err := kubectl("rollout", "restart", "deployment/orders", "-n", s.name); err != nil {
		t.Fatal(err)
	}
	s.rolledOut("orders")
	for i := range before {
		if _, err := kubectl("wait", "-n", s.name, "--for=delete", "pod/"+before[i].Name, "--timeout=180s"); err != nil {
			t.Error(err)
		}
	}
	load.wait(100)
	measured(t, "rolling restart of 2 pods under load: %d requests, none failed", load.stop()+slow.stop())
	s.enforced("orders", 2)
}
