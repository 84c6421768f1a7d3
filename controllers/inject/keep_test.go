package inject

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

const mirrored = "mirror.example/cache/postern:1"

// again injects a pod, lets another webhook change it, and injects it again, as reinvocation does.
func again(t *testing.T, edit func(redirect, sidecar *corev1.Container)) (redirect, sidecar *corev1.Container, err error) {
	t.Helper()
	first := input(fullPod(), v1alpha1.InterceptRedirect)
	first.Sidecar.Settings.ImageMirrors = []string{"mirror.example/cache"}
	pod := mustInject(t, first)
	edit(&pod.Spec.InitContainers[0], &pod.Spec.InitContainers[1])
	second := first
	second.Pod = pod
	got, err := Inject(second)
	if err != nil {
		return nil, nil, err
	}
	return &got.Spec.InitContainers[0], &got.Spec.InitContainers[1], nil
}

// TestInjectAgainKeepsOtherWebhooksChanges checks that a mirror, proxy variables and a pull policy survive reinvocation.
func TestInjectAgainKeepsOtherWebhooksChanges(t *testing.T) {
	proxy := []corev1.EnvVar{
		{Name: "HTTPS_PROXY", Value: "http://proxy:3128"}, {Name: "no_proxy", Value: "10.0.0.0/8"},
		{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
	}
	redirect, sidecar, err := again(t, func(redirect, sidecar *corev1.Container) {
		redirect.Image, sidecar.Image = mirrored, mirrored
		redirect.ImagePullPolicy, sidecar.ImagePullPolicy = corev1.PullAlways, corev1.PullAlways
		sidecar.Env = append(append([]corev1.EnvVar{}, proxy...), sidecar.Env...)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*corev1.Container{redirect, sidecar} {
		if c.Image != mirrored || c.ImagePullPolicy != corev1.PullAlways {
			t.Errorf("container %s has image %s, %s", c.Name, c.Image, c.ImagePullPolicy)
		}
	}
	if last := sidecar.Env[len(sidecar.Env)-len(proxy):]; !reflect.DeepEqual(last, proxy) {
		t.Errorf("the last variables are %+v", last)
	}
}

// TestInjectAgainKeepsNothingHarmful checks what a pod's author gains by writing a container with the operator's document key into the
// pod: nothing.
func TestInjectAgainKeepsNothingHarmful(t *testing.T) {
	want, wantSidecar, err := again(t, func(*corev1.Container, *corev1.Container) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range []string{
		"busybox", "", "mirror.example/cache/busybox:1", "mirror.example/cache/postern:2", "mirror.example/cache/evil/postern:1", "mirror.example/postern:1",
		"mirror.example/cache/../evil/postern:1", "mirror.example/cache/postern:1@sha256:00", "evil.example/mirror.example/cache/postern:1", "mirror.example/cachepostern:1",
	} {
		redirect, sidecar, err := again(t, func(redirect, sidecar *corev1.Container) { redirect.Image, sidecar.Image = image, image })
		if err != nil || redirect.Image != want.Image || sidecar.Image != wantSidecar.Image {
			t.Errorf("image %q: the containers have %q and %q, %v", image, redirect.Image, sidecar.Image, err)
		}
	}
	_, sidecar, err := again(t, func(_, sidecar *corev1.Container) {
		sidecar.Command, sidecar.Args, sidecar.SecurityContext = []string{"sh"}, []string{"-c"}, nil
		sidecar.EnvFrom, sidecar.VolumeMounts = []corev1.EnvFromSource{{Prefix: "POSTERN_"}}, []corev1.VolumeMount{{MountPath: "/sidecar"}}
		for _, name := range []string{"POSTERN_OPERATOR_URL", "POSTERN_NEW", "postern_policy", "GODEBUG", "GOMEMLIMIT", "SSL_CERT_FILE", "LD_PRELOAD"} {
			sidecar.Env = append(sidecar.Env, corev1.EnvVar{Name: name, Value: "x"})
		}
	})
	if err != nil || !reflect.DeepEqual(sidecar, wantSidecar) {
		t.Errorf("got %+v, %v, want %+v", sidecar, err, wantSidecar)
	}
}

func TestInjectAgainBoundsVariables(t *testing.T) {
	for name, add := range map[string]func(*corev1.Container){
		"too many": func(c *corev1.Container) {
			for i := range maxKeptEnv + 1 {
				c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("A%d", i)})
			}
		},
		"too large": func(c *corev1.Container) {
			c.Env = append(c.Env, corev1.EnvVar{Name: "A", Value: strings.Repeat("x", maxKeptEnvSize)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := again(t, func(_, sidecar *corev1.Container) { add(sidecar) })
			wantRefusal(t, err, "exempt the container")
		})
	}
}

// TestMirroredSidecarIsNotAltered checks that status accepts what the webhook keeps.
func TestMirroredSidecarIsNotAltered(t *testing.T) {
	redirect, sidecar, err := again(t, func(redirect, sidecar *corev1.Container) { redirect.Image, sidecar.Image = mirrored, mirrored })
	if err != nil {
		t.Fatal(err)
	}
	s := input(appPod(), v1alpha1.InterceptRedirect).Sidecar
	if s.Altered([]corev1.Container{*redirect, *sidecar}) == "" {
		t.Error("a mirror that the settings do not name is accepted")
	}
	s.Settings.ImageMirrors = []string{"mirror.example/cache"}
	if got := s.Altered([]corev1.Container{*redirect, *sidecar}); got != "" {
		t.Errorf("the mirrored sidecar is altered: %s", got)
	}
	if s.RunsImage(render.SidecarName) {
		t.Error("any image runs the sidecar")
	}
}
