package inject

import (
	"encoding/json"
	"reflect"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// apply computes the patch from one pod to another and applies it to raw.
func apply(t *testing.T, raw []byte, original, injected *corev1.Pod) []byte {
	t.Helper()
	ops, err := patch(original, injected)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := jsonpatch.DecodePatch(encoded)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decoded.Apply(raw)
	if err != nil {
		t.Fatalf("applying %s: %v", encoded, err)
	}
	return got
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPatchMakesInjected(t *testing.T) {
	injected := mustInject(t, input(fullPod(), v1alpha1.InterceptRedirect))
	changed := injected.DeepCopy()
	changed.Spec.InitContainers = append([]corev1.Container{{Name: "vault"}}, changed.Spec.InitContainers...)
	changed.Spec.Volumes = append([]corev1.Volume{{Name: "vault"}}, changed.Spec.Volumes...)
	low := appPod()
	low.Spec.Containers[0].Ports[0].ContainerPort = 80
	for name, tc := range map[string]struct {
		pod          *corev1.Pod
		interception v1alpha1.Interception
	}{
		"no lists":               {appPod(), v1alpha1.InterceptRedirect},
		"sysctl":                 {low, v1alpha1.InterceptTakeover},
		"full":                   {fullPod(), v1alpha1.InterceptRedirect},
		"injected":               {injected, v1alpha1.InterceptRedirect},
		"injected with Redirect": {injected, v1alpha1.InterceptTakeover},
		"injected, changed":      {changed, v1alpha1.InterceptRedirect},
	} {
		t.Run(name, func(t *testing.T) {
			want := mustInject(t, input(tc.pod, tc.interception))
			got := &corev1.Pod{}
			if err := json.Unmarshal(apply(t, encode(t, tc.pod), tc.pod, want), got); err != nil {
				t.Fatal(err)
			}
			if string(encode(t, got)) != string(encode(t, want)) {
				t.Errorf("got  %s\nwant %s", encode(t, got), encode(t, want))
			}
		})
	}
}

func TestPatchOfInjectedIsEmpty(t *testing.T) {
	pod := mustInject(t, input(fullPod(), v1alpha1.InterceptRedirect))
	ops, err := patch(pod, mustInject(t, input(pod, v1alpha1.InterceptRedirect)))
	if err != nil || len(ops) > 0 {
		t.Errorf("got %v, %v", ops, err)
	}
}

// TestPatchKeepsUnknownFields checks that fields that this build does not know stay in their objects, in every list that the
// injection changes.
func TestPatchKeepsUnknownFields(t *testing.T) {
	raw := []byte(`{"metadata":{"name":"x"},"spec":{"newInSpec":1,
		"initContainers":[{"name":"migrate","new":"migrate"},
			{"name":"proxy","new":"proxy","restartPolicy":"Always","startupProbe":{"new":"probe","tcpSocket":{"port":9000}}}],
		"containers":[{"name":"app","new":"app","ports":[{"containerPort":8080}],"livenessProbe":{"httpGet":{"port":8080}}}],
		"volumes":[{"name":"data","new":"data"}]}}`)
	pod := &corev1.Pod{}
	if err := json.Unmarshal(raw, pod); err != nil {
		t.Fatal(err)
	}
	once := apply(t, raw, pod, mustInject(t, input(pod, v1alpha1.InterceptRedirect)))
	wantUnknown(t, once)

	again := &corev1.Pod{}
	if err := json.Unmarshal(once, again); err != nil {
		t.Fatal(err)
	}
	wantUnknown(t, apply(t, once, again, mustInject(t, input(again, v1alpha1.InterceptTakeover))))
}

func wantUnknown(t *testing.T, raw []byte) {
	t.Helper()
	type entry struct {
		Name         string `json:"name"`
		New          string `json:"new"`
		StartupProbe struct {
			New string `json:"new"`
		} `json:"startupProbe"`
	}
	var pod struct {
		Spec struct {
			NewInSpec                           int `json:"newInSpec"`
			InitContainers, Containers, Volumes []entry
		} `json:"spec"`
	}
	if err := json.Unmarshal(raw, &pod); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, list := range [][]entry{pod.Spec.InitContainers, pod.Spec.Containers, pod.Spec.Volumes} {
		for _, e := range list {
			if e.New != "" {
				got[e.Name] = e.New + e.StartupProbe.New
			}
		}
	}
	want := map[string]string{"migrate": "migrate", "proxy": "proxyprobe", "app": "app", "data": "data"}
	if !reflect.DeepEqual(got, want) || pod.Spec.NewInSpec != 1 {
		t.Errorf("unknown fields are %v, want %v, of %s", got, want, raw)
	}
}
