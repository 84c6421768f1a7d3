package inject

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/v1alpha1"
)

// restrictedPod returns a pod that every level admits.
func restrictedPod() *corev1.Pod {
	pod := fullPod()
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: ptr.To(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	security := &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			list[i].SecurityContext = security
		}
	}
	pod.Spec.Containers[0].Ports[0].ContainerPort = 80
	return pod
}

func TestInjectKeepsPodSecurityLevel(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	privileged := fullPod()
	privileged.Spec.HostPID = true
	for name, tc := range map[string]struct {
		pod *corev1.Pod
		// levels are those that admit the pod without a sidecar.
		levels []api.Level
	}{
		"privileged": {privileged, []api.Level{api.LevelPrivileged}},
		"baseline":   {fullPod(), []api.Level{api.LevelPrivileged, api.LevelBaseline}},
		"restricted": {restrictedPod(), []api.Level{api.LevelPrivileged, api.LevelBaseline, api.LevelRestricted}},
		"golden": {readPod(t, "testdata/takeover-restricted.in.yaml"),
			[]api.Level{api.LevelPrivileged, api.LevelBaseline, api.LevelRestricted}},
	} {
		for _, level := range tc.levels {
			t.Run(name+"/"+string(level), func(t *testing.T) {
				if before := violations(evaluator, level, tc.pod); before != "" {
					t.Fatalf("the pod without sidecar is refused: %s", before)
				}
				in := input(tc.pod, v1alpha1.InterceptTakeover)
				in.NamespaceLabels = map[string]string{enforceLabel: string(level)}
				if after := violations(evaluator, level, mustInject(t, in)); after != "" {
					t.Error(after)
				}
			})
		}
	}
}

// TestRedirectRefusalMatchesPodSecurity checks that the injector refuses Redirect at exactly the levels at which Pod Security would.
func TestRedirectRefusalMatchesPodSecurity(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	injected := mustInject(t, input(restrictedPod(), v1alpha1.InterceptRedirect))
	for _, level := range []api.Level{api.LevelPrivileged, api.LevelBaseline, api.LevelRestricted} {
		in := input(restrictedPod(), v1alpha1.InterceptRedirect)
		in.NamespaceLabels = map[string]string{enforceLabel: string(level)}
		_, err := Inject(in)
		if theirs := violations(evaluator, level, injected); (err != nil) != (theirs != "") {
			t.Errorf("%s: Pod Security returns %q, the injector %v", level, theirs, err)
		}
	}
}

func violations(evaluator policy.Evaluator, level api.Level, pod *corev1.Pod) string {
	version := api.LevelVersion{Level: level, Version: api.LatestVersion()}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(version, &pod.ObjectMeta, &pod.Spec))
	return result.ForbiddenDetail()
}
