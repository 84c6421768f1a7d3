package inject

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// meshPath is the path of a webhook that changes pods as Istio's does, and meshLabel the label of the pods that it is called for.
const meshPath, meshLabel = "/istio", "test-mesh"

// meshConfigurations are called before and after this package's webhook: the API server calls them by name.
func meshConfigurations() []*admissionregistrationv1.MutatingWebhookConfiguration {
	var out []*admissionregistrationv1.MutatingWebhookConfiguration
	for name, order := range map[string]string{"istio-sidecar-injector": "before", "zz-mesh": "after"} {
		c := webhookConfiguration()
		c.Name = name
		hook := &c.Webhooks[0]
		hook.Name, hook.ClientConfig.Service.Path = order+".sidecar-injector.istio.io", ptr.To(meshPath)
		hook.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{meshLabel: order}}
		hook.ReinvocationPolicy = ptr.To(admissionregistrationv1.NeverReinvocationPolicy)
		out = append(out, c)
	}
	return out
}

// meshWebhook adds Istio's containers and replaces the probes of all others, also of native sidecars.
func meshWebhook(decoder admission.Decoder) admission.HandlerFunc {
	return func(_ context.Context, req admission.Request) admission.Response {
		pod := &corev1.Pod{}
		if err := decoder.Decode(req, pod); err != nil {
			return admission.Errored(http.StatusBadRequest, err)
		}
		originals := map[string]prober{}
		for _, c := range longRunning(pod) {
			for _, kind := range []compiled.ProbeKind{compiled.ProbeLiveness, compiled.ProbeReadiness, compiled.ProbeStartup} {
				if p := probeOf(c, kind); p != nil && p.Exec == nil {
					originals[istioPath(c.Name, kind)] = prober{p.HTTPGet, p.TCPSocket, p.GRPC}
					p.ProbeHandler = corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: istioPath(c.Name, kind), Port: intstr.FromInt32(15020)}}
				}
			}
		}
		value, err := json.Marshal(originals)
		if err != nil {
			return admission.Errored(http.StatusInternalServerError, err)
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{
			Name: "istio-init", Image: "registry.example/proxyv2:1", Args: []string{"istio-iptables", "-d", "15090,15021,15020"}})
		pod.Spec.Containers = append([]corev1.Container{{
			Name: istioProxy, Image: "registry.example/proxyv2:1", Env: []corev1.EnvVar{{Name: istioProbers, Value: string(value)}},
			Ports: []corev1.ContainerPort{{Name: "http-envoy-prom", ContainerPort: 15090}},
		}}, pod.Spec.Containers...)
		after, err := json.Marshal(pod)
		if err != nil {
			return admission.Errored(http.StatusInternalServerError, err)
		}
		return admission.PatchResponseFromRaw(req.Object.Raw, after)
	}
}

// testMeshTakeover: whichever webhook is called first, the stored pod is the same to the kubelet and to the mesh.
func testMeshTakeover(t *testing.T, c client.Client) {
	workspace(t, c, "mesh", v1alpha1.InterceptTakeover, nil)
	for _, order := range []string{"before", "after"} {
		pod := appPod()
		pod.Labels[meshLabel] = order
		pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: tcpProbe(8080)}
		pod = created(t, c, "mesh", pod)
		want := []compiled.Probe{{Name: "app/liveness", Timeout: seconds(1), TCP: &compiled.ProbeTCP{Port: 8080}}}
		if got := forwardedBy(t, pod); !reflect.DeepEqual(got, want) {
			t.Errorf("mesh %s: the sidecar forwards %s", order, encode(t, got))
		}
		for _, probe := range []*corev1.Probe{sidecarOf(t, pod).StartupProbe, containerOf(pod, "app").LivenessProbe} {
			if probe.HTTPGet == nil || probe.HTTPGet.Port.IntValue() != int(compiled.AdminPort) {
				t.Errorf("mesh %s: the kubelet asks %+v", order, probe.ProbeHandler)
			}
		}
		if ports := environment(sidecarOf(t, pod), compiled.EnvContainerPorts); ports != `[{"name":"web","number":8080}]` {
			t.Errorf("mesh %s: the sidecar takes over %s", order, ports)
		}
		if args := containerOf(pod, "istio-init").Args; args[2] != "15090,15021,15020,15991" {
			t.Errorf("mesh %s: the arguments of istio-init are %q", order, args)
		}
		if pod.Spec.InitContainers[0].Name != "postern" {
			t.Errorf("mesh %s: the first init container is %s", order, pod.Spec.InitContainers[0].Name)
		}
	}
}

func testMeshRedirect(t *testing.T, c client.Client) {
	workspace(t, c, "mesh-redirect", v1alpha1.InterceptRedirect, nil)
	for _, order := range []string{"before", "after"} {
		pod := appPod()
		pod.Spec.Containers[0].Image = "registry.example/app:1"
		pod.Labels[meshLabel] = order
		wantForbidden(t, c, "mesh-redirect", pod, "it is in the mesh of Istio")
	}
}
