//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// closed refuses everyone. Whatever works under it does not pass the policy.
const closed = `
apiVersion: postern.dev/v1alpha1
kind: SecurityPolicy
metadata: {name: closed}
spec:
  selector: {matchExpressions: [{key: app, operator: Exists}]}
  ports: [{port: 8080}]
  authorization: {default: Deny}
`

func probing(handler corev1.ProbeHandler) *corev1.Probe {
	return &corev1.Probe{ProbeHandler: handler, PeriodSeconds: 1, TimeoutSeconds: 5, FailureThreshold: 10}
}

// testProbes: the kubelet's probes of every kind reach the app under a policy that refuses everyone, and fail if the app fails.
func testProbes(t *testing.T) {
	s := newSpace(t)
	s.apply(closed)
	http := func(path string, port intstr.IntOrString) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: port}}
	}
	named, number := intstr.FromString("http"), intstr.FromInt32(appPort)
	kinds := map[string]struct {
		handler   corev1.ProbeHandler
		wantReady bool
	}{
		"http-named":  {http("/healthz", named), true},
		"http-number": {http("/healthz", number), true},
		"http-undecl": {http("/healthz", intstr.FromInt32(9999)), true},
		"http-fails":  {http("/stream?bytes=x", number), false},
		"tcp":         {corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: named}}, true},
		"tcp-fails":   {corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(7777)}}, false},
		"grpc":        {corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: appPort}}, true},
		"grpc-fails":  {corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: appPort, Service: ptr.To("nobody")}}, false},
		"exec":        {corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/sample-app", "get", "-fail", "http://127.0.0.1:8080/healthz"}}}, true},
	}
	for name, kind := range kinds {
		s.create(pod(s.name, name, env("EXTRA_LISTEN", ":9999"), func(spec *corev1.PodSpec) {
			app := &spec.Containers[0]
			app.ReadinessProbe = probing(kind.handler)
			if kind.wantReady { // a failure of these restarts the app
				app.StartupProbe, app.LivenessProbe = probing(kind.handler), probing(kind.handler)
			}
		}))
	}
	for name, kind := range kinds {
		if kind.wantReady {
			p := s.ready(name)
			if n := p.Status.ContainerStatuses[0].RestartCount; n != 0 {
				t.Errorf("%s: the app was restarted %d times", name, n)
			}
			get(t, podURL(p, appPort)+"/healthz").wantStatus(t, 403)
			continue
		}
		s.unready(name)
	}
}

// unready waits until the kubelet reports that the app's readiness probe fails.
func (s *space) unready(name string) {
	s.t.Helper()
	eventually(s.t, "waiting for the probe of "+name+" to fail", func() error {
		out, err := kubectl("get", "events", "-n", s.name, "--field-selector", "reason=Unhealthy,involvedObject.name="+name,
			"-o", "jsonpath={.items[*].message}{.items[*].involvedObject.fieldPath}")
		if err == nil && !(strings.Contains(out, "Readiness probe failed") && strings.Contains(out, "{app}")) {
			err = fmt.Errorf("events are %q", out)
		}
		return err
	})
	p := &corev1.Pod{}
	if err := s.c.Get(s.t.Context(), s.key(name), p); err != nil {
		s.t.Fatal(err)
	}
	if p.Status.ContainerStatuses[0].Ready {
		s.t.Errorf("%s: the app counts as ready: %s", name, describe(p))
	}
}
