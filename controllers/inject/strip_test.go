package inject

import (
	"bytes"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// fullPod has each kind of probe and hook, a native sidecar and a volume.
func fullPod() *corev1.Pod {
	pod := appPod()
	pod.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
	pod.Spec.InitContainers = []corev1.Container{
		{Name: "migrate"},
		{Name: "proxy", RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
			StartupProbe: &corev1.Probe{ProbeHandler: tcpProbe(9000)}},
	}
	app := &pod.Spec.Containers[0]
	app.LivenessProbe = &corev1.Probe{ProbeHandler: httpProbe("web"), TimeoutSeconds: 2}
	app.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 9000, Service: ptr.To("shop")}}}
	app.StartupProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}}
	app.Lifecycle = &corev1.Lifecycle{
		PostStart: &corev1.LifecycleHandler{HTTPGet: httpProbe("web").HTTPGet},
		PreStop:   &corev1.LifecycleHandler{HTTPGet: httpProbe("8080").HTTPGet},
	}
	return pod
}

func TestInjectIsIdempotent(t *testing.T) {
	for _, interception := range []v1alpha1.Interception{v1alpha1.InterceptRedirect, v1alpha1.InterceptTakeover} {
		t.Run(string(interception), func(t *testing.T) {
			once := mustInject(t, input(fullPod(), interception))
			in := input(once, interception)
			in.Random = bytes.NewReader(nil) // tokens are recovered, not generated
			if twice := mustInject(t, in); !reflect.DeepEqual(twice, once) {
				t.Errorf("once:  %+v\ntwice: %+v", once, twice)
			}
		})
	}
}

func TestInjectAgainKeepsChangesOfOthers(t *testing.T) {
	pod := mustInject(t, input(fullPod(), v1alpha1.InterceptRedirect))
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
		Name: "late", LivenessProbe: &corev1.Probe{ProbeHandler: tcpProbe(7000)}})
	pod.Spec.Containers[0].LivenessProbe.ProbeHandler = tcpProbe(8082)
	pod.Spec.InitContainers = append([]corev1.Container{{Name: "vault"}}, pod.Spec.InitContainers...)
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "late"})

	got := mustInject(t, input(pod, v1alpha1.InterceptRedirect))
	var names []string
	for _, c := range got.Spec.InitContainers {
		names = append(names, c.Name)
	}
	if want := []string{"postern-redirect", "postern", "vault", "migrate", "proxy"}; !reflect.DeepEqual(names, want) {
		t.Errorf("init containers are %q, want %q", names, want)
	}
	ports := map[string]uint16{}
	for _, p := range forwardedBy(t, got) {
		if p.TCP != nil {
			ports[p.Name] = p.TCP.Port
		}
	}
	want := map[string]uint16{"proxy/startup": 9000, "app/liveness": 8082, "late/liveness": 7000}
	if !reflect.DeepEqual(ports, want) {
		t.Errorf("the sidecar forwards %v over TCP, want %v", ports, want)
	}
}

func TestInjectAgainFollowsPolicy(t *testing.T) {
	pod := mustInject(t, input(appPod(), v1alpha1.InterceptRedirect))
	in := input(pod, v1alpha1.InterceptTakeover)
	in.Sidecar.Policy = &compiled.Policy{Namespace: "shop", Name: "other"}
	got := mustInject(t, in)
	if want := mustInject(t, Input{Pod: appPod(), Sidecar: in.Sidecar}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestInjectAgainRefusesBrokenEnvironment(t *testing.T) {
	pod := mustInject(t, input(fullPod(), v1alpha1.InterceptRedirect))
	env := sidecarOf(t, pod).Env
	for i := range env {
		if env[i].Name == compiled.EnvProbes {
			env[i].Value = "{"
		}
	}
	_, err := Inject(input(pod, v1alpha1.InterceptRedirect))
	wantRefusal(t, err, "injected again")
}
