//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// hookTime is the time the app takes to respond to a hook. The kubelet ignores everything about a hook except its end, so the
// wait shows that the hook reached the app.
const hookTime = 3 * time.Second

func hook(path string, port intstr.IntOrString) *corev1.LifecycleHandler {
	return &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: port}}
}

// testHooks: lifecycle hooks reach the app under a policy that refuses everyone, and only the kubelet can send them.
func testHooks(t *testing.T) {
	s := newSpace(t)
	s.apply(closed)
	slow := hook(fmt.Sprintf("/slow?ms=%d", hookTime.Milliseconds()), intstr.FromString("http"))
	s.create(pod(s.name, "hooked", func(spec *corev1.PodSpec) {
		spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: slow.DeepCopy(), PreStop: slow.DeepCopy()}
	}))
	s.create(pod(s.name, "fails", func(spec *corev1.PodSpec) {
		spec.Containers[0].Lifecycle = &corev1.Lifecycle{PostStart: hook("/", intstr.FromInt32(7777))}
	}))
	p := s.ready("hooked")
	if waited := readyAfter(p); waited < hookTime-time.Second { // the API has whole seconds
		t.Errorf("the app was ready %v after its start: the postStart hook did not wait for its response", waited)
	}
	for _, name := range []string{"postStart", "preStop"} {
		url := podURL(p, 15991) + "/probe/app/" + name
		get(t, url).wantStatus(t, 404)
		get(t, url, "Postern-Probe-Token: "+strings.Repeat("0", 32)).wantStatus(t, 404)
	}
	s.checkPreStop(p)
	eventually(t, "waiting for the hook to nowhere to fail", func() error { return s.hasEvent("fails", "FailedPostStartHook") })
}

// readyAfter returns the time from the app's start until it was ready.
func readyAfter(p *corev1.Pod) time.Duration {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.ContainersReady {
			return c.LastTransitionTime.Sub(p.Status.ContainerStatuses[0].State.Running.StartedAt.Time)
		}
	}
	return 0
}

// checkPreStop deletes the pod. The app is told to stop after the hook has ended. Earlier hooks may have failed: the kubelet
// sends postStart even if the app is not listening yet, and then restarts the app.
func (s *space) checkPreStop(p *corev1.Pod) {
	s.t.Helper()
	var logs strings.Builder
	follow := exec.CommandContext(s.t.Context(), "kubectl", "logs", "-f", "-n", s.name, p.Name, "-c", "app")
	follow.Stdout = &logs
	if err := follow.Start(); err != nil {
		s.t.Fatal(err)
	}
	before := s.countEvents(p.Name, "FailedPreStopHook")
	start := time.Now()
	s.delete(p)
	if err := follow.Wait(); err != nil {
		s.t.Errorf("following the app's log: %v", err)
	}
	for line := range strings.Lines(logs.String()) {
		var entry struct {
			Time time.Time
			Msg  string
		}
		if err := json.Unmarshal([]byte(line), &entry); err == nil && entry.Msg == "stopping" {
			if waited := entry.Time.Sub(start); waited < hookTime {
				s.t.Errorf("the app was told to stop after %v: the preStop hook did not wait for its response", waited)
			}
			if failed := s.countEvents(p.Name, "FailedPreStopHook") - before; failed != 0 {
				s.t.Errorf("the preStop hook failed %d times", failed)
			}
			return
		}
	}
	s.t.Errorf("the app was never told to stop; its log:\n%s", logs.String())
}

// hasEvent returns an error if the pod has no event with the reason.
func (s *space) hasEvent(pod, reason string) error {
	s.t.Helper()
	if s.countEvents(pod, reason) == 0 {
		return fmt.Errorf("pod %s has no event %s", pod, reason)
	}
	return nil
}

// countEvents returns how often the event occurred for the pod.
func (s *space) countEvents(pod, reason string) int {
	s.t.Helper()
	events := &corev1.EventList{}
	if err := s.c.List(s.t.Context(), events, client.InNamespace(s.name)); err != nil {
		s.t.Fatalf("reading events: %v", err)
	}
	count := 0
	for _, event := range events.Items {
		if event.InvolvedObject.Name == pod && event.Reason == reason {
			count += int(event.Count)
		}
	}
	return count
}
