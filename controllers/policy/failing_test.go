package policy

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

func TestFailing(t *testing.T) {
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "back-off 10s"}}
	}
	tests := map[string]struct {
		interception string
		state        corev1.ContainerState
		want         string
	}{
		"crashing under Takeover":  {"Takeover", waiting(crashLoop), "app"},
		"crashing under Redirect":  {"Redirect", waiting(crashLoop), ""},
		"crashing without sidecar": {"", waiting(crashLoop), ""},
		"starting":                 {"Takeover", waiting("ContainerCreating"), ""},
		"running":                  {"Takeover", corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: tt.state, RestartCount: 3}}}}
			if tt.interception != "" {
				pod.Spec.InitContainers = []corev1.Container{{Name: render.SidecarName, Env: []corev1.EnvVar{
					{Name: compiled.EnvPolicy, Value: "orders"}, {Name: compiled.EnvInterception, Value: tt.interception},
				}}}
			}
			trimmed, err := trimPod(pod)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range []*corev1.Pod{pod, trimmed.(*corev1.Pod)} {
				if got := failing(p); got != tt.want {
					t.Errorf("failing container = %q; want %q", got, tt.want)
				}
			}
		})
	}
}
