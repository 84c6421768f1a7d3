package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/controllers/render"
)

// leftover is the part of an earlier injection that the next one keeps.
type leftover struct {
	// found says that there was an earlier injection.
	found bool
	// tokens of hooks, by the probe's path.
	tokens map[string]string
	// containers of the sidecar, by name, with what others may have changed; see keep.
	containers map[string]corev1.Container
}

// strip removes an earlier injection from the pod and restores its probes and hooks. An injection is recognised by the
// operator's document key in the sidecar's environment, never by a name alone. Copying the key gains nothing: the container
// is replaced by a real sidecar.
func strip(pod *corev1.Pod, settings render.Settings) (leftover, error) {
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == render.SidecarName && environment(&c, compiled.EnvDocumentKey) == settings.DocumentKeyValue()
	})
	if i < 0 {
		return leftover{}, nil
	}
	probes, err := compiled.DecodeProbes(environment(&pod.Spec.InitContainers[i], compiled.EnvProbes))
	if err != nil {
		return leftover{}, refusef("its container %q was injected before, and its environment is broken (%v): "+
			"remove the container, so that it is injected again", render.SidecarName, err)
	}
	left := leftover{found: true, tokens: map[string]string{}, containers: map[string]corev1.Container{}}
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
		if isOurContainer(c) {
			left.containers[c.Name] = c
		}
		return isOurContainer(c)
	})
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, isOurVolume)
	for i := range probes {
		left.tokens[probes[i].Path()] = probes[i].Token
		restore(pod, &probes[i])
	}
	return left, nil
}

func environment(c *corev1.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}

// restore restores a container's probe or hook, unless it was changed after the injection.
func restore(pod *corev1.Pod, p *compiled.Probe) {
	for _, c := range longRunning(pod) {
		if c.Name != p.Container() {
			continue
		}
		if probe := probeOf(c, p.Kind()); probe != nil && isCarried(probe.HTTPGet, p) {
			probe.ProbeHandler = corev1.ProbeHandler{HTTPGet: httpAction(p.HTTP), TCPSocket: tcpAction(p.TCP), GRPC: grpcAction(p.GRPC)}
		}
		if hook := hookOf(c, p.Kind()); hook != nil && isCarried(hook.HTTPGet, p) {
			*hook = corev1.LifecycleHandler{HTTPGet: httpAction(p.HTTP)}
		}
	}
}

func isCarried(action *corev1.HTTPGetAction, p *compiled.Probe) bool {
	return action != nil && action.Path == p.Path() && action.Port.IntValue() == int(compiled.AdminPort)
}

func httpAction(h *compiled.ProbeHTTP) *corev1.HTTPGetAction {
	if h == nil {
		return nil
	}
	action := &corev1.HTTPGetAction{Path: h.Path, Port: intstr.FromInt32(int32(h.Port)), Scheme: corev1.URIScheme(h.Scheme)}
	for _, field := range h.Headers {
		action.HTTPHeaders = append(action.HTTPHeaders, corev1.HTTPHeader{Name: field.Name, Value: field.Value})
	}
	return action
}

func tcpAction(t *compiled.ProbeTCP) *corev1.TCPSocketAction {
	if t == nil {
		return nil
	}
	return &corev1.TCPSocketAction{Port: intstr.FromInt32(int32(t.Port))}
}

func grpcAction(g *compiled.ProbeGRPC) *corev1.GRPCAction {
	if g == nil {
		return nil
	}
	return &corev1.GRPCAction{Port: int32(g.Port), Service: ptr.To(g.Service)}
}
