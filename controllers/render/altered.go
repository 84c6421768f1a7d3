package render

import (
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// comparedEnv lists the environment variables that Altered compares, for both containers.
var comparedEnv = []string{
	compiled.EnvPolicy, compiled.EnvDocumentKey, compiled.EnvInterception, compiled.EnvInboundPort, compiled.EnvExcludedPorts,
}

// Judged returns the parts of the pod's init containers that Altered reads. They are few, so that a cache can hold them for many pods.
func Judged(containers []corev1.Container) []corev1.Container {
	var out []corev1.Container
	for i := range containers {
		c := &containers[i]
		if c.Name != SidecarName && c.Name != RedirectName {
			continue
		}
		env := slices.DeleteFunc(slices.Clone(c.Env), func(e corev1.EnvVar) bool { return !slices.Contains(comparedEnv, e.Name) })
		mounts := slices.DeleteFunc(slices.Clone(c.VolumeMounts), func(m corev1.VolumeMount) bool { return !hidesCommand(m) })
		out = append(out, corev1.Container{
			Name: c.Name, Image: c.Image, Command: c.Command, Args: c.Args, RestartPolicy: c.RestartPolicy,
			EnvFrom: c.EnvFrom, Env: slices.Clip(env), VolumeMounts: slices.Clip(mounts),
		})
	}
	return out
}

// Altered says in what the sidecar's containers of a pod differ from those that s renders; empty if in nothing that decides what they
// run. It proves that a pod that claims to have a sidecar has one: a pod that was created before its namespace was labelled may have
// any container of that name, and the image of a container can be changed while the pod runs.
func (s Sidecar) Altered(containers []corev1.Container) string {
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == SidecarName })
	if i < 0 {
		return fmt.Sprintf("no init container is named %s", SidecarName)
	}
	sidecar := &containers[i]
	if p := sidecar.RestartPolicy; p == nil || *p != corev1.ContainerRestartPolicyAlways {
		return fmt.Sprintf("its container %s does not have restartPolicy: Always, so it does not run beside the app", SidecarName)
	}
	want := map[string]string{
		compiled.EnvPolicy: s.Policy.Name, compiled.EnvDocumentKey: s.Settings.DocumentKeyValue(),
		compiled.EnvInterception: string(s.Interception), compiled.EnvInboundPort: decimal(compiled.InboundPort),
	}
	if differs := s.differs(sidecar, sidecarCommand, want); differs != "" || s.Interception != v1alpha1.InterceptRedirect {
		return differs
	}
	j := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == RedirectName })
	if j < 0 || j > i {
		return fmt.Sprintf("no init container %s runs before %s", RedirectName, SidecarName)
	}
	want = map[string]string{compiled.EnvInboundPort: decimal(compiled.InboundPort), compiled.EnvExcludedPorts: decimal(compiled.AdminPort)}
	return s.differs(&containers[j], redirectCommand, want)
}

// RunsSidecar reports whether the containers have a sidecar that runs beside the app and verifies documents with that key, in the form of
// Settings.DocumentKeyValue. It proves less than Altered, and needs no policy or class.
func RunsSidecar(containers []corev1.Container, key string) bool {
	i := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == SidecarName })
	if i < 0 {
		return false
	}
	policy := containers[i].RestartPolicy
	return policy != nil && *policy == corev1.ContainerRestartPolicyAlways && hasOnly(containers[i].Env, compiled.EnvDocumentKey, key)
}

// differs compares one container with what s renders.
func (s Sidecar) differs(c *corev1.Container, command string, env map[string]string) string {
	switch {
	case !s.RunsImage(c.Image):
		return fmt.Sprintf("its container %s has the image %q, not %q", c.Name, c.Image, s.image())
	case !slices.Equal(c.Command, []string{command}) || len(c.Args) > 0:
		return fmt.Sprintf("its container %s has another command", c.Name)
	case len(c.EnvFrom) > 0:
		return fmt.Sprintf("its container %s has envFrom", c.Name)
	case slices.ContainsFunc(c.VolumeMounts, hidesCommand):
		return fmt.Sprintf("its container %s has a volume mount that replaces its program", c.Name)
	}
	for _, name := range comparedEnv {
		if !hasOnly(c.Env, name, env[name]) {
			return fmt.Sprintf("its container %s has another value of %s", c.Name, name)
		}
	}
	return ""
}

// hasOnly reports whether the variable has that value wherever it is set, because the last of several applies. The value "" means that
// it is not set.
func hasOnly(env []corev1.EnvVar, name, value string) bool {
	found := false
	for i := range env {
		if env[i].Name != name {
			continue
		}
		if found = true; env[i].Value != value || env[i].ValueFrom != nil {
			return false
		}
	}
	return found == (value != "")
}

// hidesCommand reports whether the mount replaces the program that the container starts.
func hidesCommand(m corev1.VolumeMount) bool {
	at := path.Clean("/" + m.MountPath)
	return at == "/" || at == sidecarCommand || at == redirectCommand
}
