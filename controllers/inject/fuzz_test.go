package inject

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/posterndev/postern/api/v1alpha1"
)

// FuzzInject injects arbitrary pods. It checks that nothing panics, that injection is idempotent, and that nothing of the user's is
// lost.
func FuzzInject(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		pod, err := yaml.YAMLToJSON(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pod, false)
		f.Add(pod, true)
	}
	f.Fuzz(func(t *testing.T, raw []byte, takeover bool) {
		pod := &corev1.Pod{}
		if json.Unmarshal(raw, pod) != nil {
			return
		}
		interception := v1alpha1.InterceptRedirect
		if takeover {
			interception = v1alpha1.InterceptTakeover
		}
		once, err := Inject(input(pod, interception))
		if err != nil {
			return
		}
		again := input(once, interception)
		again.Random = bytes.NewReader(nil)
		twice, err := Inject(again)
		if err != nil {
			t.Fatalf("an injected pod is refused: %v", err)
		}
		if !reflect.DeepEqual(once, twice) {
			t.Errorf("once  %s\ntwice %s", encode(t, once), encode(t, twice))
		}
		wantKept(t, pod, once)
	})
}

// wantKept compares the user's parts of both pods, except for probes, hooks and the arguments of a mesh's init container.
func wantKept(t *testing.T, pod, injected *corev1.Pod) {
	t.Helper()
	users := func(pod *corev1.Pod) ([]corev1.Container, []corev1.Container, []corev1.Volume) {
		initContainers, _ := split(unprobed(pod.Spec.InitContainers), isOurContainer)
		volumes, _ := split(pod.Spec.Volumes, isOurVolume)
		return initContainers, unprobed(pod.Spec.Containers), volumes
	}
	wantInit, wantApp, wantVolumes := users(pod)
	gotInit, gotApp, gotVolumes := users(injected)
	if !reflect.DeepEqual(gotInit, wantInit) || !reflect.DeepEqual(gotApp, wantApp) || !reflect.DeepEqual(gotVolumes, wantVolumes) {
		t.Errorf("%s became %s", encode(t, pod), encode(t, injected))
	}
}

func unprobed(list []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for _, c := range list {
		c.LivenessProbe, c.ReadinessProbe, c.StartupProbe, c.Lifecycle = nil, nil, nil, nil
		if c.Name == istio.setup || c.Name == linkerd.setup { // the admin port is added to the ports that the mesh leaves alone
			c.Args, c.Command = nil, nil
		}
		out = append(out, c)
	}
	return out
}
