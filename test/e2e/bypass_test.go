//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// testBypass: from another pod there is no way around the sidecar, and no pod runs without one.
func testBypass(t *testing.T) {
	s, id := newSpace(t), newIssuer(t)
	s.apply(guarded+"  ports: [{port: http}]\n", "JWKS", id.jwks())
	s.deploy("orders", 1, env("EXTRA_LISTEN", ":9999,127.0.0.1:9998"))
	attacker := s.client()
	s.rolledOut("orders")
	s.enforced("orders", 1)
	victim := s.pods("orders")[0]

	t.Run("addresses", func(t *testing.T) { s.in(t).checkAddresses(attacker, &victim) })
	t.Run("own ports", func(t *testing.T) { s.in(t).checkOwnPorts(attacker, &victim) })
	t.Run("undeclared ports allowed", func(t *testing.T) {
		s := s.in(t)
		s.apply(guarded+"  ports: [{port: http}]\n  undeclaredPorts: Allow\n", "JWKS", id.jwks())
		s.enforced("orders", 1)
		eventuallyStatus(t, http.StatusOK, podURL(&victim, 9999)+"/")
		get(t, podURL(&victim, appPort)+"/").wantStatus(t, 401)
	})
	t.Run("admission", func(t *testing.T) { s.in(t).checkAdmission() })
}

// checkAddresses: the app's port is guarded at every address of the pod, and its other ports are closed.
func (s *space) checkAddresses(attacker, victim *corev1.Pod) {
	for _, ip := range victim.Status.PodIPs {
		if out, err := s.ask(attacker, "-want", "401", fmt.Sprintf("http://%s/", net.JoinHostPort(ip.IP, "8080"))); err != nil {
			s.t.Errorf("the app's port at %s: %v\n%s", ip.IP, err, out)
		}
		for _, port := range []string{"9999", "9998", "1"} {
			out, err := s.ask(attacker, "-timeout", "5s", fmt.Sprintf("http://%s/", net.JoinHostPort(ip.IP, port)))
			if err == nil || strings.Contains(out, "HTTP/1.1") {
				s.t.Errorf("undeclared port %s at %s responds: %s", port, ip.IP, out)
			}
		}
	}
	// The extra listeners exist; only access is closed.
	if out, err := kubectl("exec", "-n", s.name, victim.Name, "-c", "app", "--", "/sample-app", "get", "-want", "200", "http://127.0.0.1:9999/"); err != nil {
		s.t.Errorf("the app does not listen on its undeclared port at all: %v\n%s", err, out)
	}
}

// checkOwnPorts: the sidecar's inbound port gives no access, and its admin port serves only health and metrics.
func (s *space) checkOwnPorts(attacker, victim *corev1.Pod) {
	out, err := s.ask(attacker, "-timeout", "5s", podURL(victim, 15990)+"/")
	if err == nil && !strings.Contains(out, "HTTP/1.1 4") {
		s.t.Errorf("the inbound port responds: %s", out)
	}
	for path, want := range map[string]string{
		"/readyz": "200", "/metrics": "200", "/probe/app/readiness": "200", "/probe/app/liveness": "404", "/probe/": "404", "/": "404", "/debug/pprof/": "404",
	} {
		if out, err := s.ask(attacker, "-want", want, podURL(victim, 15991)+path); err != nil {
			s.t.Errorf("the admin port at %s: %v\n%s", path, err, out)
		}
	}
}

// checkAdmission: pods that cannot be guarded are refused with the reason.
func (s *space) checkAdmission() {
	for name, test := range map[string]struct {
		change change
		want   string
	}{
		"host network": {func(p *corev1.PodSpec) { p.HostNetwork = true }, "hostNetwork"},
		"sidecar's name": {func(p *corev1.PodSpec) {
			p.Containers = append(p.Containers, corev1.Container{Name: render.SidecarName, Image: sampleImage})
		}, "reserved for the sidecar"},
		"sidecar's name as init container": {func(p *corev1.PodSpec) {
			p.InitContainers = []corev1.Container{{Name: render.SidecarName, Image: sampleImage}}
		}, "reserved for the sidecar"},
		"sidecar's volume": {func(p *corev1.PodSpec) {
			p.Volumes = []corev1.Volume{{Name: render.VolumePrefix + "document", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		}, "reserved for the sidecar"},
		"sidecar's port":  {func(p *corev1.PodSpec) { p.Containers[0].Ports[0].ContainerPort = 15990 }, "sidecar's own"},
		"undeclared port": {func(p *corev1.PodSpec) { p.Containers[0].Ports[0].Name = "web" }, `named "http"`},
	} {
		s.t.Run(name, func(t *testing.T) {
			err := s.c.Create(t.Context(), pod(s.name, "orders", test.change))
			if err == nil || !strings.Contains(err.Error(), `policy "orders" selects this pod`) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want a refusal with %q", err, test.want)
			}
		})
	}
	s.t.Run("annotations and labels do not opt out", func(t *testing.T) {
		s := s.in(t)
		p := pod(s.name, "sly")
		p.Labels = map[string]string{"app": "orders", "postern.dev/injection": "disabled", "sidecar.istio.io/inject": "false"}
		p.Annotations = map[string]string{"postern.dev/injection": "disabled", "postern.dev/policy": "another"}
		s.create(p)
		defer s.delete(p)
		got := s.ready("sly")
		eventuallyStatus(t, http.StatusUnauthorized, podURL(got, appPort)+"/")
	})
	s.t.Run("a label added later is reported", func(t *testing.T) {
		s := s.in(t)
		p := pod(s.name, "late")
		p.Labels = nil
		s.create(p)
		defer s.delete(p)
		patch := client.MergeFrom(p.DeepCopy())
		p.Labels = map[string]string{"app": "orders"}
		if err := s.c.Patch(t.Context(), p, patch); err != nil {
			t.Fatal(err)
		}
		s.hasCondition("orders", v1alpha1.ConditionEnforced, metav1.ConditionFalse, v1alpha1.ReasonPodsWithoutSidecar, "late", "delete the pod and create it again")
	})
}
