package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// TestReservedNamesWithoutPolicy checks that a pod of a labelled namespace cannot look like a pod with a sidecar, whether or not a
// policy selects it.
func TestReservedNamesWithoutPolicy(t *testing.T) {
	unselected := func(change func(*corev1.Pod)) *corev1.Pod {
		pod := appPod()
		pod.Labels = map[string]string{"app": "other"}
		change(pod)
		return pod
	}
	for name, tc := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"an init container": {unselected(func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: render.SidecarName}}
		}), `container "postern" has a name that is reserved`},
		"a container": {unselected(func(p *corev1.Pod) { p.Spec.Containers[0].Name = render.RedirectName }), `container "postern-redirect" has a name`},
		"a volume":    {unselected(func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "postern-token"}} }), `volume "postern-token"`},
		"a mount": {unselected(func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "postern-token"}}
		}), `mounts the volume "postern-token"`},
		"the policy's annotation": {unselected(func(p *corev1.Pod) {
			p.Annotations = map[string]string{render.PolicyAnnotation: "orders"}
		}), `annotation "postern.dev/policy" is reserved`},
		"the injection's annotation": {unselected(func(p *corev1.Pod) {
			p.Annotations = map[string]string{render.InjectionAnnotation: "x"}
		}), `annotation "postern.dev/injection" is reserved`},
		// As `kubectl debug --copy-to` makes, which drops the labels.
		"a copy of an injected pod": {func() *corev1.Pod {
			pod := mustInject(t, input(appPod(), v1alpha1.InterceptRedirect))
			pod.Labels = nil
			return pod
		}(), "reserved for the sidecar"},
	} {
		t.Run(name, func(t *testing.T) {
			h := handler(t, "", []client.Object{namespace(""), class(), securityPolicy("orders", 1)}...)
			response := h.Handle(t.Context(), request(t, tc.pod))
			if response.Allowed || !strings.Contains(response.Result.Message, tc.want) {
				t.Errorf("allowed %t: %v, want %q", response.Allowed, response.Result, tc.want)
			}
		})
	}
	t.Run("an injected pod again", func(t *testing.T) {
		pod := mustInject(t, input(appPod(), v1alpha1.InterceptRedirect))
		response := handler(t, "", namespace(""), class(), securityPolicy("orders", 1)).Handle(t.Context(), request(t, pod))
		if !response.Allowed {
			t.Errorf("refused: %v", response.Result)
		}
	})
}
