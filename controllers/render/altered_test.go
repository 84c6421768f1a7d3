package render

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// TestAltered changes one part of a rendered sidecar at a time, before and after the parts that the cache drops are dropped.
func TestAltered(t *testing.T) {
	setEnv := func(container int, name, value string) func([]corev1.Container) []corev1.Container {
		return func(list []corev1.Container) []corev1.Container {
			for i := range list[container].Env {
				if list[container].Env[i].Name == name {
					list[container].Env[i].Value = value
				}
			}
			return list
		}
	}
	change := func(container int, edit func(*corev1.Container)) func([]corev1.Container) []corev1.Container {
		return func(list []corev1.Container) []corev1.Container {
			edit(&list[container])
			return list
		}
	}
	for name, tc := range map[string]struct {
		edit func([]corev1.Container) []corev1.Container
		want string
	}{
		"nothing": {func(list []corev1.Container) []corev1.Container { return list }, ""},
		"another container before": {func(list []corev1.Container) []corev1.Container {
			return append([]corev1.Container{{Name: "mesh"}}, list...)
		}, ""},
		"a variable of another": {change(1, func(c *corev1.Container) { c.Env = append(c.Env, corev1.EnvVar{Name: "HTTP_PROXY", Value: "x"}) }), ""},
		"a mount of another": {change(1, func(c *corev1.Container) {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{MountPath: "/etc/ca"})
		}), ""},
		"resources":         {change(1, func(c *corev1.Container) { c.Resources = corev1.ResourceRequirements{} }), ""},
		"no sidecar":        {func(list []corev1.Container) []corev1.Container { return list[:1] }, "no init container is named postern"},
		"no redirect":       {func(list []corev1.Container) []corev1.Container { return list[1:] }, "no init container postern-redirect runs before"},
		"redirect after":    {func(list []corev1.Container) []corev1.Container { return []corev1.Container{list[1], list[0]} }, "runs before postern"},
		"runs once":         {change(1, func(c *corev1.Container) { c.RestartPolicy = nil }), "restartPolicy: Always"},
		"restart policy":    {change(1, func(c *corev1.Container) { c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicy("Never")) }), "restartPolicy: Always"},
		"image":             {change(1, func(c *corev1.Container) { c.Image = "busybox" }), `container postern has the image "busybox"`},
		"image of redirect": {change(0, func(c *corev1.Container) { c.Image = "busybox" }), `container postern-redirect has the image "busybox"`},
		"command":           {change(1, func(c *corev1.Container) { c.Command = []string{"/sidecar", "leave"} }), "another command"},
		"image's command":   {change(1, func(c *corev1.Container) { c.Command = nil }), "another command"},
		"args":              {change(0, func(c *corev1.Container) { c.Args = []string{"x"} }), "postern-redirect has another command"},
		"environment from":  {change(1, func(c *corev1.Container) { c.EnvFrom = []corev1.EnvFromSource{{Prefix: "POSTERN_"}} }), "envFrom"},
		"program replaced": {change(1, func(c *corev1.Container) {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{MountPath: "//sidecar/"})
		}), "replaces its program"},
		"key": {setEnv(1, compiled.EnvDocumentKey, "AAAA"), "another value of POSTERN_DOCUMENT_KEY"},
		"key set twice": {change(1, func(c *corev1.Container) {
			c.Env = append(c.Env, corev1.EnvVar{Name: compiled.EnvDocumentKey, Value: "AAAA"})
		}), "another value of POSTERN_DOCUMENT_KEY"},
		"policy":         {setEnv(1, compiled.EnvPolicy, "other"), "another value of POSTERN_POLICY"},
		"interception":   {setEnv(1, compiled.EnvInterception, "Takeover"), "another value of POSTERN_INTERCEPTION"},
		"excluded ports": {setEnv(0, compiled.EnvExcludedPorts, "15991,8080"), "another value of POSTERN_EXCLUDED_PORTS"},
		"port":           {setEnv(0, compiled.EnvInboundPort, "1"), "postern-redirect has another value of POSTERN_INBOUND_PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sidecar()
			s.Interception = v1alpha1.InterceptRedirect
			list, err := s.InitContainers(Pod{})
			if err != nil {
				t.Fatal(err)
			}
			list = tc.edit(list)
			for what, containers := range map[string][]corev1.Container{"whole": list, "trimmed": Judged(list)} {
				if got := s.Altered(containers); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
					t.Errorf("%s: got %q, want %q", what, got, tc.want)
				}
			}
		})
	}
	takeover := sidecar()
	takeover.Interception = v1alpha1.InterceptTakeover
	list, err := takeover.InitContainers(Pod{})
	if err != nil {
		t.Fatal(err)
	}
	if got := takeover.Altered(list); got != "" {
		t.Errorf("Takeover: %q", got)
	}
}
