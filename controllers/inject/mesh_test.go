package inject

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

const (
	istioPod   = "testdata/mesh-istio-takeover.in.yaml"
	linkerdPod = "testdata/mesh-linkerd-takeover.in.yaml"
)

// TestRedirectInMeshIsRefused: each sign of a mesh is enough.
func TestRedirectInMeshIsRefused(t *testing.T) {
	container := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: name}) }
	}
	first := func(name string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: name})
		}
	}
	annotation := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Annotations = map[string]string{key: value} }
	}
	label := func(key, value string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Labels = map[string]string{key: value} }
	}
	const toIstio, toLinkerd, toAmbient = `sidecar.istio.io/inject: "false"`, "linkerd.io/inject: disabled", "istio.io/dataplane-mode: none"
	ns := map[string]string{"istio.io/dataplane-mode": "ambient"}
	for name, tc := range map[string]struct {
		change    func(*corev1.Pod)
		namespace map[string]string
		// want is the remedy; empty if the pod is injected.
		want string
	}{
		"istio-proxy":                {container("istio-proxy"), nil, toIstio},
		"istio-proxy, native":        {first("istio-proxy"), nil, toIstio},
		"istio-init":                 {first("istio-init"), nil, toIstio},
		"Istio's CNI plugin":         {first("istio-validation"), nil, toIstio},
		"Istio's annotation":         {annotation("sidecar.istio.io/status", "{}"), nil, toIstio},
		"asks for Istio by label":    {label("sidecar.istio.io/inject", "true"), nil, toIstio},
		"asks for Istio":             {annotation("sidecar.istio.io/inject", "true"), nil, toIstio},
		"linkerd-proxy":              {container("linkerd-proxy"), nil, toLinkerd},
		"linkerd-proxy, native":      {first("linkerd-proxy"), nil, toLinkerd},
		"linkerd-init":               {first("linkerd-init"), nil, toLinkerd},
		"Linkerd's CNI plugin":       {first("linkerd-network-validator"), nil, toLinkerd},
		"Linkerd's annotation":       {annotation("linkerd.io/proxy-version", "edge"), nil, toLinkerd},
		"asks for Linkerd":           {annotation("linkerd.io/inject", "ingress"), nil, toLinkerd},
		"ambient":                    {label("istio.io/dataplane-mode", "ambient"), nil, toAmbient},
		"ambient namespace":          {func(*corev1.Pod) {}, ns, toAmbient},
		"not in ambient":             {label("istio.io/dataplane-mode", "none"), ns, ""},
		"not in Istio":               {label("sidecar.istio.io/inject", "false"), nil, ""},
		"not in Linkerd":             {annotation("linkerd.io/inject", "disabled"), nil, ""},
		"an app on a port of a mesh": {func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 4143 }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			pod := appPod()
			tc.change(pod)
			in := input(pod, v1alpha1.InterceptRedirect)
			in.NamespaceLabels = tc.namespace
			_, err := Inject(in)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, tc.want)
			wantRefusal(t, err, "spec.interception: Takeover")
		})
	}
}

// TestTakeoverLeavesMeshPorts: the mesh's ports are neither bound nor reported, and its containers keep their probes.
func TestTakeoverLeavesMeshPorts(t *testing.T) {
	for file, wantMesh := range map[string]string{
		istioPod:   "15000,15001,15004,15006,15008,15020,15021,15053,15090",
		linkerdPod: "4140,4143,4190,4191",
	} {
		t.Run(file, func(t *testing.T) {
			pod := readPod(t, file)
			got := mustInject(t, input(pod, v1alpha1.InterceptTakeover))
			if ports := environment(sidecarOf(t, got), compiled.EnvContainerPorts); ports != `[{"name":"http","number":8080}]` {
				t.Errorf("the sidecar takes over %s", ports)
			}
			if ports := environment(sidecarOf(t, got), compiled.EnvExcludedPorts); ports != wantMesh {
				t.Errorf("the mesh's ports are %s, want %s", ports, wantMesh)
			}
			for _, name := range []string{"istio-proxy", "linkerd-proxy"} {
				before, after := containerOf(pod, name), containerOf(got, name)
				if !reflect.DeepEqual(before, after) {
					t.Errorf("container %s is %+v, was %+v", name, after, before)
				}
			}
		})
	}
}

// containerOf returns a container by name, or nil.
func containerOf(pod *corev1.Pod, name string) *corev1.Container {
	all := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	if i := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// TestTakeoverOfMeshPortsWithoutMesh: a port's number excludes nothing.
func TestTakeoverOfMeshPortsWithoutMesh(t *testing.T) {
	pod := appPod()
	pod.Spec.Containers[0].Ports[0].ContainerPort = 4143
	got := mustInject(t, input(pod, v1alpha1.InterceptTakeover))
	if ports := environment(sidecarOf(t, got), compiled.EnvContainerPorts); !strings.Contains(ports, "4143") {
		t.Errorf("the sidecar takes over %s", ports)
	}
	if ports := environment(sidecarOf(t, got), compiled.EnvExcludedPorts); ports != "" {
		t.Errorf("ports %s are excluded", ports)
	}
}

func TestPortsThatCollideWithMeshAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		file   string
		change func(*Input)
		want   string
	}{
		"a port of the app": {istioPod, func(in *Input) {
			in.Pod.Spec.Containers[1].Ports[0].ContainerPort = 15021
		}, `container "app" declares port 15021, which the proxy of its mesh listens on`},
		// The name of a container excludes no port from protection.
		"an app named like a proxy": {linkerdPod, func(in *Input) {
			in.Pod.Spec.InitContainers[1].Ports[0].ContainerPort = 8443
		}, `container "linkerd-proxy" of Linkerd declares port 8443`},
		"the policy": {linkerdPod, func(in *Input) {
			in.Sidecar.Policy.Ports = []compiled.Port{{Number: 8080}, {Number: 4143}}
		}, "the policy names port 4143, which the proxy of the pod's mesh listens on"},
		"the policy by name": {linkerdPod, func(in *Input) {
			in.Sidecar.Policy.Ports = []compiled.Port{{Name: "linkerd-admin"}}
		}, `declares a TCP port named "linkerd-admin"`},
		"ambient": {istioPod, func(in *Input) {
			in.Pod = appPod()
			in.Pod.Spec.Containers[0].Ports[0].ContainerPort = 15008
			in.NamespaceLabels = map[string]string{"istio.io/dataplane-mode": "ambient"}
		}, "port 15008"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(readPod(t, tc.file), v1alpha1.InterceptTakeover)
			tc.change(&in)
			_, err := Inject(in)
			wantRefusal(t, err, tc.want)
		})
	}
}

// TestMeshLeavesAdminPort: the kubelet's probes of the sidecar are not redirected, by the mesh's init container or its CNI plugin.
func TestMeshLeavesAdminPort(t *testing.T) {
	for file, want := range map[string]struct{ annotation, container, list string }{
		istioPod:   {"traffic.sidecar.istio.io/excludeInboundPorts", "istio-init", "15090,15021,15020,15991"},
		linkerdPod: {"config.linkerd.io/skip-inbound-ports", "linkerd-init", "4190,4191,4567,4568,15991"},
	} {
		t.Run(want.container, func(t *testing.T) {
			pod := readPod(t, file)
			for range 2 { // the second time is a reinvocation
				pod = mustInject(t, input(pod, v1alpha1.InterceptTakeover))
				if got := pod.Annotations[want.annotation]; got != "15991" {
					t.Errorf("annotation %s is %q", want.annotation, got)
				}
				if args := containerOf(pod, want.container).Args; !slices.Contains(args, want.list) {
					t.Errorf("arguments of %s are %q", want.container, args)
				}
			}
		})
	}
	t.Run("the annotation's other ports stay", func(t *testing.T) {
		pod := readPod(t, istioPod)
		pod.Annotations["traffic.sidecar.istio.io/excludeInboundPorts"] = "22, 23"
		pod = mustInject(t, input(pod, v1alpha1.InterceptTakeover))
		if got := pod.Annotations["traffic.sidecar.istio.io/excludeInboundPorts"]; got != "22, 23,15991" {
			t.Errorf("annotation is %q", got)
		}
	})
	t.Run("an unknown init container", func(t *testing.T) {
		pod := readPod(t, linkerdPod)
		pod.Spec.InitContainers[0].Args = []string{"--inbound-ports-to-ignore"}
		_, err := Inject(input(pod, v1alpha1.InterceptTakeover))
		wantRefusal(t, err, `add the annotation config.linkerd.io/skip-inbound-ports: "15991"`)
	})
}

// wantProbes are those of the app in istioPod before Istio's webhook.
func wantProbes() []compiled.Probe {
	return []compiled.Probe{
		{Name: "app/liveness", Timeout: seconds(3), HTTP: &compiled.ProbeHTTP{Port: 8080, Scheme: "HTTP", Path: "/live"}},
		{Name: "app/readiness", Timeout: seconds(1), TCP: &compiled.ProbeTCP{Port: 8080}},
		{Name: "app/startup", Timeout: seconds(1), GRPC: &compiled.ProbeGRPC{Port: 9000, Service: "orders"}},
		{Name: "app/preStop", Timeout: compiled.Duration(compiled.MaxProbeTimeout), Token: hookToken,
			HTTP: &compiled.ProbeHTTP{Port: 8080, Scheme: "HTTP", Path: "/drain"}},
	}
}

// TestProbesSurviveIstio: whichever webhook runs first, the sidecar forwards the app's own probes.
func TestProbesSurviveIstio(t *testing.T) {
	t.Run("Istio first", func(t *testing.T) {
		got := mustInject(t, input(readPod(t, istioPod), v1alpha1.InterceptTakeover))
		if probes := forwardedBy(t, got); !reflect.DeepEqual(probes, wantProbes()) {
			t.Errorf("the sidecar forwards %s, want %s", encode(t, probes), encode(t, wantProbes()))
		}
	})
	t.Run("Istio after, and this webhook again", func(t *testing.T) {
		pod := istioAfter(t, mustInject(t, input(readPod(t, istioPod), v1alpha1.InterceptTakeover)))
		got := mustInject(t, input(pod, v1alpha1.InterceptTakeover))
		if probes := forwardedBy(t, got); !reflect.DeepEqual(probes, wantProbes()) {
			t.Errorf("the sidecar forwards %s, want %s", encode(t, probes), encode(t, wantProbes()))
		}
		for _, probe := range []*corev1.Probe{sidecarOf(t, got).StartupProbe, containerOf(got, "app").LivenessProbe} {
			if probe.HTTPGet.Port.IntValue() != int(compiled.AdminPort) {
				t.Errorf("the kubelet asks %+v", probe.HTTPGet)
			}
		}
	})
	t.Run("no Istio", func(t *testing.T) {
		pod := appPod()
		pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: httpProbe("web")}
		pod.Spec.Containers[0].LivenessProbe.HTTPGet.Path = "/app-health/app/livez"
		got := forwardedBy(t, mustInject(t, input(pod, v1alpha1.InterceptTakeover)))
		if len(got) != 1 || got[0].HTTP.Path != "/app-health/app/livez" {
			t.Errorf("the sidecar forwards %+v", got)
		}
	})
}

// istioAfter replaces the probes of an injected pod, the sidecar's too, as Istio's webhook does if it does not know the annotation.
func istioAfter(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	pod = pod.DeepCopy()
	originals := map[string]prober{}
	to := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(15020)}}
	}
	for _, c := range []*corev1.Container{sidecarOf(t, pod), &pod.Spec.Containers[1]} {
		for _, kind := range []compiled.ProbeKind{compiled.ProbeLiveness, compiled.ProbeReadiness, compiled.ProbeStartup} {
			path := istioPath(c.Name, kind)
			originals[path] = prober{HTTPGet: probeOf(c, kind).HTTPGet}
			probeOf(c, kind).ProbeHandler = to(path)
		}
	}
	hook := pod.Spec.Containers[1].Lifecycle.PreStop
	path := istioPath("app", compiled.HookPreStop)
	originals[path] = prober{HTTPGet: hook.HTTPGet.DeepCopy()}
	hook.HTTPGet.Path, hook.HTTPGet.Port = path, intstr.FromInt32(15020) // Istio keeps the headers
	pod.Spec.Containers[0].Env[0].Value = string(encode(t, originals))
	return pod
}

func TestBrokenIstioProbesAreRefused(t *testing.T) {
	for name, tc := range map[string]struct{ value, want string }{
		"missing":    {"", "does not have the original"},
		"no probe":   {`{"/app-health/app/livez":{}}`, "does not have the original"},
		"old format": {`{"/app-health/app/livez":{"port":80}}`, "does not have the original"},
		"not JSON":   {"{", "cannot be read"},
		"too large":  {`{"` + strings.Repeat("a", maxProbers) + `":{}}`, "more than 262144"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := readPod(t, istioPod)
			pod.Spec.Containers[0].Env[0].Value = tc.value
			_, err := Inject(input(pod, v1alpha1.InterceptTakeover))
			wantRefusal(t, err, tc.want)
			wantRefusal(t, err, `sidecar.istio.io/rewriteAppHTTPProbers: "false"`)
		})
	}
}

// FuzzIstioProbers: whatever the variable holds, the pod is injected or refused.
func FuzzIstioProbers(f *testing.F) {
	f.Add(`{"/app-health/app/livez":{"httpGet":{"path":"/live","port":8080}}}`)
	f.Add(`{"/app-health/app/livez":{"httpGet":{"path":"/probe/app/liveness","port":15991},"tcpSocket":{"port":"x"}}}`)
	f.Fuzz(func(t *testing.T, value string) {
		pod := appPod()
		pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Path: "/app-health/app/livez", Port: intstr.FromInt32(15020)}}}
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: istioProxy, Env: []corev1.EnvVar{{Name: istioProbers, Value: value}}})
		got, err := Inject(input(pod, v1alpha1.InterceptTakeover))
		if err != nil {
			wantRefusal(t, err, "")
			return
		}
		for _, name := range []string{render.SidecarName, "app", istioProxy} {
			if containerOf(got, name) == nil {
				t.Errorf("container %s is missing", name)
			}
		}
	})
}
