// Package inject adds the sidecar to pods as they are created. Inject is pure; Handler calls it for each admission request to
// create a pod.
//
// Every pod that a policy selects gets a correct sidecar or is refused, with a message that says what to change. No container
// name and no annotation opts a pod out. In the user's containers only probes and HTTP hooks change: the kubelet sends them
// to the sidecar's admin port. The containers of a service mesh, by name, keep their probes and their ports, which must be ports that the
// mesh is known to use; the sidecar's admin port is added to those that the mesh leaves alone.
//
// Three kinds of pods are admitted on purpose. First, containers that are privileged or have NET_ADMIN under Redirect: they can
// undo the rules in their own pod, but the author of the pod is protected by the policy and not an attacker, and node agents
// and VPN sidecars need these rights. Second, two containers that declare the same port: only one of them can listen on it.
// Third, pods with shareProcessNamespace or hostPID: a container with the sidecar's user (65532, also distroless's nonroot)
// or root can stop the sidecar, read the token that it polls with, and report in its name. This affects the pod's own
// document and status, and no other pod's.
package inject

import (
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// Input is what Inject needs.
type Input struct {
	Pod *corev1.Pod
	// Sidecar is that of the policy that selects the pod.
	Sidecar render.Sidecar
	// NamespaceLabels are the labels of the pod's namespace, which hold its Pod Security level.
	NamespaceLabels map[string]string
	// Random is the source of the tokens of hooks.
	Random io.Reader
}

// Inject returns a copy of the pod with the sidecar. The error is a *Refusal if the pod cannot get a correct sidecar. Inject
// is idempotent, so that the webhook may be invoked again.
func Inject(in Input) (*corev1.Pod, error) {
	pod := in.Pod.DeepCopy()
	if err := undoIstioProbes(pod); err != nil {
		return nil, err
	}
	left, err := strip(pod, in.Sidecar.Settings)
	if err != nil {
		return nil, err
	}
	if err := refuse(pod, in); err != nil {
		return nil, err
	}
	meshes := meshesOf(pod, in.NamespaceLabels)
	declared := declaredPorts(pod)
	if _, err := compiled.EncodeContainerPorts(declared); err != nil {
		return nil, refusef("its containers declare too many ports (%v): declare only the ports that clients use, or give them shorter names", err)
	}
	guarded, err := guardedPorts(in.Sidecar, declared)
	if err != nil {
		return nil, err
	}
	if err := refuseGuarded(guarded, meshes); err != nil {
		return nil, err
	}
	if err := skipAdminPort(pod, meshes); err != nil {
		return nil, err
	}
	if in.Sidecar.Interception == v1alpha1.InterceptTakeover {
		if err := letBind(pod, guarded, left.found); err != nil {
			return nil, err
		}
	}
	probes, err := rewriteProbes(pod, left.tokens, in.Random)
	if err != nil {
		return nil, err
	}
	facts := render.Pod{Ports: declared, MeshPorts: meshPorts(meshes), Probes: probes, Guaranteed: isGuaranteed(pod)}
	if pod.Spec.Resources != nil {
		facts.MemoryBudget = pod.Spec.Resources.Limits.Memory().Value()
	}
	return pod, add(pod, in.Sidecar, facts, left)
}

// add adds the sidecar's parts to the pod, its containers first, so that everything else starts after it.
func add(pod *corev1.Pod, sidecar render.Sidecar, facts render.Pod, left leftover) error {
	containers, err := sidecar.InitContainers(facts)
	if err != nil {
		return refusef("its probes do not fit into the sidecar's environment (%v): shorten their paths and headers, or use exec probes", err)
	}
	for i := range containers {
		if containers[i], err = keep(pod, sidecar, containers[i], left.containers[containers[i].Name]); err != nil {
			return err
		}
	}
	hash, err := render.InjectionHash(sidecar)
	if err != nil {
		return fmt.Errorf("hashing injection: %w", err)
	}
	pod.Spec.InitContainers = append(containers, pod.Spec.InitContainers...)
	pod.Spec.Volumes = append(pod.Spec.Volumes, sidecar.Volumes()...)
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[render.PolicyAnnotation] = sidecar.Policy.Name
	pod.Annotations[render.InjectionAnnotation] = hash
	return nil
}

// resources returns the rendered resources, completed by those that a LimitRange gave the container after its first
// injection. In a pod with pod-level resources (spec.resources) the sidecar uses those.
func resources(pod *corev1.Pod, rendered, present corev1.ResourceRequirements) corev1.ResourceRequirements {
	if pod.Spec.Resources != nil {
		return corev1.ResourceRequirements{}
	}
	rendered.Limits = withDefaults(rendered.Limits, present.Limits)
	rendered.Requests = withDefaults(rendered.Requests, present.Requests)
	return rendered
}

// isGuaranteed reports whether the pod has the QoS class Guaranteed: every container has limits for CPU and memory, and requests
// that are the same. The API server has set requests that are unset to the limits.
func isGuaranteed(pod *corev1.Pod) bool {
	if pod.Spec.Resources != nil {
		return false // the class follows from the pod's resources, which the sidecar uses
	}
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, ok := c.Resources.Limits[name]
			request, requested := c.Resources.Requests[name]
			if !ok || limit.IsZero() || requested && request.Cmp(limit) != 0 {
				return false
			}
		}
	}
	return true
}

func withDefaults(list, defaults corev1.ResourceList) corev1.ResourceList {
	for name, quantity := range defaults {
		if _, ok := list[name]; ok {
			continue
		}
		if list == nil {
			list = corev1.ResourceList{}
		}
		list[name] = quantity
	}
	return list
}

// isOurContainer and isOurVolume report whether a name is reserved for the sidecar's parts.
func isOurContainer(c corev1.Container) bool {
	return c.Name == render.SidecarName || c.Name == render.RedirectName
}

func isOurVolume(v corev1.Volume) bool { return isVolumeName(v.Name) }

func isVolumeName(name string) bool { return strings.HasPrefix(name, render.VolumePrefix) }

// longRunning returns the pod's containers that run as long as the pod: the app's, and native sidecars.
func longRunning(pod *corev1.Pod) []*corev1.Container {
	var out []*corev1.Container
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			out = append(out, c)
		}
	}
	for i := range pod.Spec.Containers {
		out = append(out, &pod.Spec.Containers[i])
	}
	return out
}

// declaredPorts lists the TCP ports that containers declare, in their order, without those of a mesh's proxy.
func declaredPorts(pod *corev1.Pod) []compiled.ContainerPort {
	var out []compiled.ContainerPort
	for _, c := range longRunning(pod) {
		for _, p := range c.Ports {
			if isTCP(p.Protocol) && isPort(p.ContainerPort) && meshOfContainer(c.Name) == nil {
				out = append(out, compiled.ContainerPort{Name: p.Name, Number: uint16(p.ContainerPort)})
			}
		}
	}
	return out
}

func isTCP(p corev1.Protocol) bool { return p == "" || p == corev1.ProtocolTCP }

func isPort(n int32) bool { return n >= 1 && n <= 65535 }
