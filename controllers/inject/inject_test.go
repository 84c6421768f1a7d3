package inject

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// settings are those of an operator whose key is all zeros.
func settings() render.Settings {
	return render.Settings{
		OperatorURL:     "https://postern.postern-system.svc:9443",
		OperatorCA:      "-----BEGIN CERTIFICATE-----\n",
		DocumentKey:     ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)),
		Image:           "registry.example/postern:1",
		ImagePullPolicy: corev1.PullIfNotPresent,
	}
}

// input returns the input for a pod and a policy that protects every declared port.
func input(pod *corev1.Pod, interception v1alpha1.Interception) Input {
	return Input{
		Pod: pod,
		Sidecar: render.Sidecar{
			Policy:       &compiled.Policy{Namespace: "shop", Name: "orders"},
			Class:        &v1alpha1.SidecarClass{},
			Interception: interception,
			Settings:     settings(),
		},
		Random: bytes.NewReader(bytes.Repeat([]byte{0xab}, 1<<10)),
	}
}

// appPod has one container that listens on 8080.
func appPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "orders-", Labels: map[string]string{"app": "orders"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "app", Image: "app:1", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080}}}}},
	}
}

func mustInject(t *testing.T, in Input) *corev1.Pod {
	t.Helper()
	pod, err := Inject(in)
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func wantRefusal(t *testing.T, err error, text string) {
	t.Helper()
	var refusal *Refusal
	if !errors.As(err, &refusal) || !strings.Contains(refusal.Message, text) {
		t.Errorf("got %v, want a refusal that says %q", err, text)
	}
}

func sidecarOf(t *testing.T, pod *corev1.Pod) *corev1.Container {
	t.Helper()
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == render.SidecarName {
			return &pod.Spec.InitContainers[i]
		}
	}
	t.Fatal("the pod has no sidecar")
	return nil
}

func TestInjectDoesNotChangeInput(t *testing.T) {
	pod := appPod()
	pod.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: tcpProbe(8080)}
	before := pod.DeepCopy()
	mustInject(t, input(pod, v1alpha1.InterceptRedirect))
	if !reflect.DeepEqual(pod, before) {
		t.Error("the given pod was changed")
	}
}

func TestInjectPutsSidecarFirst(t *testing.T) {
	pod := appPod()
	pod.Spec.InitContainers = []corev1.Container{{Name: "migrate"}}
	pod.Annotations = map[string]string{"team": "orders"}
	got := mustInject(t, input(pod, v1alpha1.InterceptRedirect))
	var names []string
	for _, c := range got.Spec.InitContainers {
		names = append(names, c.Name)
	}
	if want := []string{"postern-redirect", "postern", "migrate"}; !reflect.DeepEqual(names, want) {
		t.Errorf("init containers are %q, want %q", names, want)
	}
	if got.Annotations["team"] != "orders" || got.Annotations["postern.dev/policy"] != "orders" ||
		got.Annotations["postern.dev/injection"] == "" {
		t.Errorf("annotations are %v", got.Annotations)
	}
}

func TestInjectSetsPorts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	pod := appPod()
	pod.Spec.Containers[0].Ports = append(pod.Spec.Containers[0].Ports,
		corev1.ContainerPort{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP})
	pod.Spec.InitContainers = []corev1.Container{
		{Name: "once", Ports: []corev1.ContainerPort{{ContainerPort: 1}}},
		{Name: "proxy", RestartPolicy: &always, Ports: []corev1.ContainerPort{{ContainerPort: 9000, Protocol: corev1.ProtocolTCP}}},
	}
	got := mustInject(t, input(pod, v1alpha1.InterceptRedirect))
	ports := environment(sidecarOf(t, got), compiled.EnvContainerPorts)
	if want := `[{"number":9000},{"name":"web","number":8080}]`; ports != want {
		t.Errorf("ports are %s, want %s", ports, want)
	}
}

func TestInjectKeepsWithinPodBudget(t *testing.T) {
	pod := appPod()
	pod.Spec.Resources = &corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")}}
	for _, c := range mustInject(t, input(pod, v1alpha1.InterceptRedirect)).Spec.InitContainers {
		if len(c.Resources.Limits)+len(c.Resources.Requests) > 0 {
			t.Errorf("%s has resources %v", c.Name, c.Resources)
		}
	}
}

func TestInjectAgainKeepsDefaultsOfLimitRange(t *testing.T) {
	pod := mustInject(t, input(appPod(), v1alpha1.InterceptRedirect))
	limits := sidecarOf(t, pod).Resources.Limits
	limits[corev1.ResourceCPU] = resource.MustParse("500m")
	limits[corev1.ResourceMemory] = resource.MustParse("1Mi")
	again := sidecarOf(t, mustInject(t, input(pod, v1alpha1.InterceptRedirect))).Resources.Limits
	if again.Cpu().String() != "500m" || again.Memory().String() != "256Mi" {
		t.Errorf("limits are %v", again)
	}
}

func guaranteedPod() *corev1.Pod {
	pod := appPod()
	list := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Gi")}
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
	return pod
}

// TestInjectKeepsGuaranteed: the scheduler and the kubelet treat a pod of another QoS class worse.
func TestInjectKeepsGuaranteed(t *testing.T) {
	of := func(cpu, memory string) *corev1.ResourceRequirements {
		r := &corev1.ResourceRequirements{Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{}}
		r.Requests[corev1.ResourceCPU] = resource.MustParse(cpu)
		r.Limits[corev1.ResourceMemory] = resource.MustParse(memory)
		return r
	}
	tests := map[string]struct {
		class             *corev1.ResourceRequirements
		change            func(*corev1.Pod)
		want              bool
		wantCPU, wantSize string
	}{
		"defaults":                  {want: true, wantCPU: "500m", wantSize: "256Mi"},
		"the class's":               {class: of("2", "64Mi"), want: true, wantCPU: "2", wantSize: "64Mi"},
		"requests left out":         {change: func(p *corev1.Pod) { p.Spec.Containers[0].Resources.Requests = nil }, want: true, wantCPU: "500m", wantSize: "256Mi"},
		"an init container without": {change: func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "migrate"}} }},
		"a request below its limit": {change: func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests[corev1.ResourceCPU] = resource.MustParse("1m")
		}},
		"no limit of memory":         {change: func(p *corev1.Pod) { delete(p.Spec.Containers[0].Resources.Limits, corev1.ResourceMemory) }},
		"a second container without": {change: func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "b"}) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := input(guaranteedPod(), v1alpha1.InterceptRedirect)
			in.Sidecar.Class.Spec.Resources = tt.class
			if tt.change != nil {
				tt.change(in.Pod)
			}
			got := mustInject(t, in)
			if isGuaranteed(got) != tt.want {
				t.Errorf("guaranteed: %v, want %v: %+v", !tt.want, tt.want, got.Spec.InitContainers)
			}
			if limits := sidecarOf(t, got).Resources.Limits; tt.want && (limits.Cpu().String() != tt.wantCPU || limits.Memory().String() != tt.wantSize) {
				t.Errorf("limits %v; want %s CPU and %s", limits, tt.wantCPU, tt.wantSize)
			}
			in.Pod = got
			if again := mustInject(t, in); !reflect.DeepEqual(again, got) {
				t.Errorf("injected again: %+v", again.Spec.InitContainers)
			}
		})
	}
}

// TestPodBudgetBoundsMemory: the sidecar and the app share the memory of the pod.
func TestPodBudgetBoundsMemory(t *testing.T) {
	for budget, want := range map[string]string{"128Mi": "60397974", "4Gi": "241591905", "": "241591905"} {
		pod := appPod()
		pod.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{}}
		if budget != "" {
			pod.Spec.Resources.Limits[corev1.ResourceMemory] = resource.MustParse(budget)
		}
		if got := environment(sidecarOf(t, mustInject(t, input(pod, v1alpha1.InterceptRedirect))), "GOMEMLIMIT"); got != want {
			t.Errorf("budget %q: GOMEMLIMIT %s, want %s", budget, got, want)
		}
	}
}
