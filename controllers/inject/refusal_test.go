package inject

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func TestInjectRefusesPod(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"host network":          {func(p *corev1.Pod) { p.Spec.HostNetwork = true }, "hostNetwork: true"},
		"windows":               {func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} }, "Windows"},
		"windows by node":       {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "windows"} }, "Windows"},
		"windows by beta label": {func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"beta.kubernetes.io/os": "windows"} }, "Windows"},
		"windows by affinity": {func(p *corev1.Pod) {
			p.Spec.Affinity = affinity([]corev1.NodeSelectorRequirement{{Key: "disk", Operator: "In", Values: []string{"ssd"}}, {Key: "kubernetes.io/os", Operator: "In", Values: []string{"windows"}}})
		}, "Windows"},
		"windows by affinity, no Linux": {func(p *corev1.Pod) {
			p.Spec.Affinity = affinity([]corev1.NodeSelectorRequirement{{Key: "beta.kubernetes.io/os", Operator: "NotIn", Values: []string{"linux"}}})
		}, "Windows"},
		"3,500 ports": {func(p *corev1.Pod) {
			for i := range 3500 {
				p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{Name: fmt.Sprintf("p%d", i), ContainerPort: int32(20000 + i)})
			}
		}, "more than 65536): declare only the ports that clients use"},
		"300 probes": {func(p *corev1.Pod) {
			for i := range 300 {
				p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), LivenessProbe: &corev1.Probe{ProbeHandler: tcpProbe(8080)}})
			}
		}, "300 probes and hooks are more than 256"},
		"large probe header": {func(p *corev1.Pod) {
			p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: httpProbe("web")}
			p.Spec.Containers[0].ReadinessProbe.HTTPGet.HTTPHeaders = []corev1.HTTPHeader{{Name: "a", Value: strings.Repeat("b", 5000)}}
		}, "5000 bytes, more than 4096: shorten it"},
		"static": {func(p *corev1.Pod) { p.Annotations = map[string]string{"kubernetes.io/config.mirror": "x"} }, "static pod"},
		"container postern": {func(p *corev1.Pod) {
			p.Spec.Containers[0].Name = "postern"
		}, "rename the container"},
		"init container postern": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "postern"}}
		}, "rename the container"},
		"sidecar of another operator": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "postern", Env: []corev1.EnvVar{{Name: compiled.EnvDocumentKey, Value: "x"}}}}
		}, "rename the container"},
		"init container postern-redirect": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "postern-redirect"}}
		}, "rename the container"},
		"volume": {func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "postern-x"}}
		}, "rename the volume"},
		"mount of the sidecar's volume": {func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "postern-token"}}
		}, `mounts the volume "postern-token"`},
		"inbound port": {func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 15990 }, "port 15990"},
		"admin port of native sidecar": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "x", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
				Ports: []corev1.ContainerPort{{ContainerPort: 15991}}}}
		}, "port 15991"},
		"probe of unknown port": {func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: httpProbe("health")}
		}, `uses port "health"`},
		"probe of port out of range": {func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: tcpProbe(70000)}
		}, `uses port "70000"`},
		"probe of admin port": {func(p *corev1.Pod) {
			p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: tcpProbe(15991)}
		}, "uses port 15991"},
		"probe over HTTP/2": {func(p *corev1.Pod) {
			p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: httpProbe("web")}
			p.Spec.Containers[0].ReadinessProbe.HTTPGet.Protocol = ptr.To(corev1.HTTPProtocolHTTP2)
		}, "uses HTTP/2"},
		"probe header that cannot be sent": {func(p *corev1.Pod) {
			p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: httpProbe("web")}
			p.Spec.Containers[0].ReadinessProbe.HTTPGet.HTTPHeaders = []corev1.HTTPHeader{{Name: "a", Value: "b\nc"}}
		}, "cannot be sent"},
		"hook to admin port": {func(p *corev1.Pod) {
			p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: httpProbe("15991").HTTPGet}}
		}, "uses port 15991"},
		"duplicate container name": {func(p *corev1.Pod) {
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: tcpProbe(8080)}
			p.Spec.Containers = append(p.Spec.Containers, *p.Spec.Containers[0].DeepCopy())
		}, "named twice"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := appPod()
			tc.change(pod)
			for _, interception := range []v1alpha1.Interception{v1alpha1.InterceptRedirect, v1alpha1.InterceptTakeover} {
				_, err := Inject(input(pod, interception))
				wantRefusal(t, err, tc.want)
			}
		})
	}
}

// affinity requires one of the terms.
func affinity(terms ...[]corev1.NodeSelectorRequirement) *corev1.Affinity {
	required := &corev1.NodeSelector{}
	for _, term := range terms {
		required.NodeSelectorTerms = append(required.NodeSelectorTerms, corev1.NodeSelectorTerm{MatchExpressions: term})
	}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: required}}
}

func TestInjectRefusesPolicy(t *testing.T) {
	for name, tc := range map[string]struct {
		port compiled.Port
		want string
	}{
		"unknown name":  {compiled.Port{Name: "grpc"}, `no container of the pod declares a TCP port named "grpc"`},
		"reserved port": {compiled.Port{Number: 15990}, "port 15990"},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(appPod(), v1alpha1.InterceptRedirect)
			in.Sidecar.Policy.Ports = []compiled.Port{tc.port}
			_, err := Inject(in)
			wantRefusal(t, err, tc.want)
		})
	}
}

func TestInjectRefusesLevel(t *testing.T) {
	for name, tc := range map[string]struct {
		level        string
		interception v1alpha1.Interception
		wantRefusal  bool
	}{
		"redirect, none":       {"", v1alpha1.InterceptRedirect, false},
		"redirect, privileged": {"privileged", v1alpha1.InterceptRedirect, false},
		"redirect, baseline":   {"baseline", v1alpha1.InterceptRedirect, true},
		"redirect, restricted": {"restricted", v1alpha1.InterceptRedirect, true},
		"redirect, unknown":    {"Baseline", v1alpha1.InterceptRedirect, true},
		"takeover, restricted": {"restricted", v1alpha1.InterceptTakeover, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(appPod(), tc.interception)
			in.NamespaceLabels = map[string]string{enforceLabel: tc.level}
			_, err := Inject(in)
			if tc.wantRefusal {
				wantRefusal(t, err, "Takeover")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestInjectAllowsPrivilegedPods(t *testing.T) {
	for name, change := range map[string]func(*corev1.Pod){
		"privileged": func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true)}
		},
		"NET_ADMIN": func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
				Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}
		},
		"UDP on a reserved port": func(p *corev1.Pod) {
			p.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 15990, Protocol: corev1.ProtocolUDP}}
		},
		"no ports": func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil },
		"Windows or Linux": func(p *corev1.Pod) {
			p.Spec.Affinity = affinity([]corev1.NodeSelectorRequirement{{Key: "kubernetes.io/os", Operator: "In", Values: []string{"windows", "linux"}}})
		},
		"Windows or a disk": func(p *corev1.Pod) {
			p.Spec.Affinity = affinity([]corev1.NodeSelectorRequirement{{Key: "kubernetes.io/os", Operator: "In", Values: []string{"windows"}}},
				[]corev1.NodeSelectorRequirement{{Key: "disk", Operator: "Exists"}})
		},
		"not Windows": func(p *corev1.Pod) {
			p.Spec.Affinity = affinity([]corev1.NodeSelectorRequirement{{Key: "kubernetes.io/os", Operator: "NotIn", Values: []string{"windows"}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := appPod()
			change(pod)
			mustInject(t, input(pod, v1alpha1.InterceptRedirect))
		})
	}
}
