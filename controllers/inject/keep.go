package inject

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/controllers/render"
)

// Bounds of the environment variables that other webhooks add to one of the sidecar's containers: their number, and the bytes of names
// and values together.
const (
	maxKeptEnv     = 64
	maxKeptEnvSize = 32 << 10
)

// keep returns the rendered container with what other webhooks changed in the one that an earlier invocation added: resources, proxy
// variables and the like, a mirror's image that the operator's settings allow, and a pull policy of Always.
//
// The pod's author can write such a container into the pod, because the document key that marks it is public. So everything that is
// kept must be harmless from the pod's author: no image but that of the class at a registry that the operator's settings name, and no
// variable that configures the sidecar, its runtime or the certificates that it trusts.
func keep(pod *corev1.Pod, sidecar render.Sidecar, rendered, present corev1.Container) (corev1.Container, error) {
	rendered.Resources = resources(pod, rendered.Resources, present.Resources)
	if sidecar.RunsImage(present.Image) {
		rendered.Image = present.Image
	}
	// The API server's plugin AlwaysPullImages sets it, and refuses pods where a webhook sets it back.
	if present.ImagePullPolicy == corev1.PullAlways {
		rendered.ImagePullPolicy = corev1.PullAlways
	}
	env := slices.DeleteFunc(slices.Clone(present.Env), func(e corev1.EnvVar) bool { return isOurEnv(e.Name) })
	size := 0
	for i := range env {
		size += len(env[i].Name) + len(env[i].Value)
	}
	if len(env) > maxKeptEnv || size > maxKeptEnvSize {
		return corev1.Container{}, refusef("another webhook, or the manifest, adds %d environment variables of %d bytes to the container %q, at most %d of %d bytes are "+
			"kept: exempt the container from that webhook", len(env), size, rendered.Name, maxKeptEnv, maxKeptEnvSize)
	}
	// They come last: $(NAME) in a value refers only to variables before it, so none of ours can refer to these.
	rendered.Env = append(rendered.Env, env...)
	return rendered, nil
}

// isOurEnv reports whether a variable configures the sidecar, the Go runtime, or the certificates and libraries that a process loads.
func isOurEnv(name string) bool {
	upper := strings.ToUpper(name)
	return slices.ContainsFunc([]string{"POSTERN_", "GO", "SSL_CERT_", "LD_"}, func(prefix string) bool { return strings.HasPrefix(upper, prefix) })
}
