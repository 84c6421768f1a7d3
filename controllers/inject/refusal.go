package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// Refusal says why a pod that a policy selects cannot get a correct sidecar, and what to change.
type Refusal struct{ Message string }

func (r *Refusal) Error() string { return r.Message }

func refusef(format string, args ...any) error {
	return &Refusal{Message: fmt.Sprintf(format, args...)}
}

// enforceLabel holds a namespace's Pod Security level.
const enforceLabel = "pod-security.kubernetes.io/enforce"

// refuse returns the first reason to refuse the pod, which must not contain parts of the sidecar.
func refuse(pod *corev1.Pod, in Input) error {
	for _, check := range []func(*corev1.Pod, Input) error{
		refuseHostNetwork, refuseWindows, refuseStatic, refuseNames, refusePorts, refuseMesh, refuseMeshPorts, refuseLevel,
	} {
		if err := check(pod, in); err != nil {
			return err
		}
	}
	return nil
}

func refuseHostNetwork(pod *corev1.Pod, _ Input) error {
	if pod.Spec.HostNetwork {
		return refusef("it uses the node's network (hostNetwork: true), so no sidecar can receive its traffic first: " +
			"remove hostNetwork, or change the policy's selector so that it does not match the pod")
	}
	return nil
}

func refuseWindows(pod *corev1.Pod, _ Input) error {
	named := pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows
	if named || isWindows(pod.Spec.NodeSelector[corev1.LabelOSStable]) || isWindows(pod.Spec.NodeSelector[betaOSLabel]) || needsWindows(pod.Spec.Affinity) {
		return refusef("it is for Windows nodes, and the sidecar runs only on Linux: " +
			"change the policy's selector so that it does not match the pod")
	}
	return nil
}

// betaOSLabel is the deprecated name of corev1.LabelOSStable, which nodes still have.
const betaOSLabel = "beta.kubernetes.io/os"

func isWindows(os string) bool { return os == string(corev1.Windows) }

// needsWindows reports whether no Linux node fits the affinity: every term, of which one is enough, requires Windows.
func needsWindows(affinity *corev1.Affinity) bool {
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return false
	}
	terms := affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	return len(terms) > 0 && !slices.ContainsFunc(terms, func(term corev1.NodeSelectorTerm) bool {
		return !slices.ContainsFunc(term.MatchExpressions, requiresWindows)
	})
}

func requiresWindows(r corev1.NodeSelectorRequirement) bool {
	if r.Key != corev1.LabelOSStable && r.Key != betaOSLabel {
		return false
	}
	switch r.Operator {
	case corev1.NodeSelectorOpIn:
		return len(r.Values) > 0 && !slices.ContainsFunc(r.Values, func(os string) bool { return !isWindows(os) })
	case corev1.NodeSelectorOpNotIn:
		return slices.Contains(r.Values, string(corev1.Linux))
	}
	return false
}

// refuseStatic refuses the mirror of a static pod: the kubelet runs the static pod whatever the mirror contains.
func refuseStatic(pod *corev1.Pod, _ Input) error {
	if _, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; ok {
		return refusef("it is a static pod, which the kubelet starts from a file on the node without admission: " +
			"run it as a Deployment or DaemonSet, or change the policy's selector so that it does not match the pod")
	}
	return nil
}

func refuseNames(pod *corev1.Pod, _ Input) error {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if isOurContainer(list[i]) {
				return refusef("its container %q has a name that is reserved for the sidecar: rename the container", list[i].Name)
			}
			for _, m := range list[i].VolumeMounts {
				if isVolumeName(m.Name) {
					return refusef("its container %q mounts the volume %q, whose name is reserved for the sidecar: "+
						"rename the volume", list[i].Name, m.Name)
				}
			}
		}
	}
	for i := range pod.Spec.Volumes {
		if name := pod.Spec.Volumes[i].Name; isVolumeName(name) {
			return refusef("its volume %q has a name that is reserved for the sidecar (%s…): rename the volume", name, render.VolumePrefix)
		}
	}
	return nil
}

func refusePorts(pod *corev1.Pod, _ Input) error {
	for _, c := range longRunning(pod) {
		for _, p := range c.Ports {
			if isTCP(p.Protocol) && isReserved(p.ContainerPort) {
				return refusef("its container %q declares port %d, which is the sidecar's own (%d, %d and %d are): "+
					"make the app listen on another port", c.Name, p.ContainerPort, compiled.InboundPort, compiled.AdminPort, compiled.LoopbackPort)
			}
		}
	}
	return nil
}

func isReserved(port int32) bool {
	return isPort(port) && slices.Contains(compiled.OwnPorts(), uint16(port))
}

// refuseLevel refuses Redirect where Pod Security would refuse its init container with a less helpful message. Pod Security
// treats a level that it does not know as restricted.
func refuseLevel(_ *corev1.Pod, in Input) error {
	level := in.NamespaceLabels[enforceLabel]
	if in.Sidecar.Interception != v1alpha1.InterceptRedirect || level == "" || level == "privileged" {
		return nil
	}
	return refusef("its namespace enforces Pod Security level %q, which does not allow the init container with NET_ADMIN "+
		"that interception Redirect needs: set spec.interception: Takeover in the policy (or in its SidecarClass) and make "+
		"the app listen on 127.0.0.1, or lower the namespace's label %s", level, enforceLabel)
}
