package inject

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

func TestTakeoverOfPrivilegedPorts(t *testing.T) {
	set := func(name, value string) *corev1.PodSecurityContext {
		return &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: name, Value: value}}}
	}
	for name, tc := range map[string]struct {
		port    int32
		context *corev1.PodSecurityContext
		// want is the sysctl's value; empty for no sysctl.
		want, wantRefusal string
	}{
		"high port":                {port: 8080},
		"low port":                 {port: 80, want: "80"},
		"low port, other sysctl":   {port: 80, context: set("kernel.shm_rmid_forced", "1"), want: "80"},
		"pod allows all":           {port: 80, context: set(portStartSysctl, "0"), want: "0"},
		"pod allows it, slashes":   {port: 80, context: set("net/ipv4/ip_unprivileged_port_start", "80"), want: "80"},
		"pod allows less":          {port: 80, context: set(portStartSysctl, "443"), wantRefusal: "set it to 80 or lower"},
		"pod has an invalid value": {port: 80, context: set(portStartSysctl, "x"), wantRefusal: "set it to 80 or lower"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := appPod()
			pod.Spec.Containers[0].Ports[0].ContainerPort = tc.port
			pod.Spec.SecurityContext = tc.context
			got, err := Inject(input(pod, v1alpha1.InterceptTakeover))
			if tc.wantRefusal != "" {
				wantRefusal(t, err, tc.wantRefusal)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if value := portStart(got); value != tc.want {
				t.Errorf("the sysctl is %q, want %q", value, tc.want)
			}
		})
	}
}

// portStart returns the value of the pod's last sysctl, which is the relevant one in these tests.
func portStart(pod *corev1.Pod) string {
	if pod.Spec.SecurityContext == nil {
		return ""
	}
	list := pod.Spec.SecurityContext.Sysctls
	return list[len(list)-1].Value
}

func TestTakeoverLowersItsOwnSysctl(t *testing.T) {
	pod := appPod()
	pod.Spec.Containers[0].Ports[0].ContainerPort = 443
	pod = mustInject(t, input(pod, v1alpha1.InterceptTakeover))
	pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{
		Name: "added", Ports: []corev1.ContainerPort{{ContainerPort: 80}}})
	if got := portStart(mustInject(t, input(pod, v1alpha1.InterceptTakeover))); got != "80" {
		t.Errorf("the sysctl is %q, want 80", got)
	}
}

// TestTakeoverWithoutPorts: a Job or a worker declares no port.
func TestTakeoverWithoutPorts(t *testing.T) {
	pod := appPod()
	pod.Spec.Containers[0].Ports = nil
	got := mustInject(t, input(pod, v1alpha1.InterceptTakeover))
	if ports := environment(sidecarOf(t, got), compiled.EnvContainerPorts); ports != "" || portStart(got) != "" {
		t.Errorf("the sidecar is told of the ports %q, and the sysctl is %q", ports, portStart(got))
	}
}
