package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// mesh is a service mesh whose proxy is in the pod's network namespace and has redirected the pod's connections to itself.
type mesh struct {
	name string
	// containers are the names of its containers.
	containers []string
	// status is an annotation that its webhook sets.
	status string
	// ports are the TCP ports that its proxy listens on, with default settings.
	ports []uint16
	// skip is the pod's annotation with inbound ports that are not redirected, separated by commas.
	skip string
	// setup is the init container that programs the redirection, and flag its flag with the same list. There is none with the mesh's
	// CNI plugin, which reads the annotation.
	setup, flag string
	// leave says how a pod leaves the mesh.
	leave string
}

var istio = &mesh{
	name:       "Istio",
	containers: []string{istioProxy, "istio-init", "istio-validation"},
	status:     "sidecar.istio.io/status",
	// See https://istio.io/latest/docs/ops/deployment/application-requirements/#ports-used-by-istio.
	ports: []uint16{15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090},
	skip:  "traffic.sidecar.istio.io/excludeInboundPorts",
	setup: "istio-init", flag: "-d",
	leave: `the pod's label sidecar.istio.io/inject: "false"`,
}

var ambient = &mesh{
	name:  "Istio ambient",
	ports: []uint16{15001, 15006, 15008, 15053},
	leave: "the pod's label istio.io/dataplane-mode: none",
}

var linkerd = &mesh{
	name:       "Linkerd",
	containers: []string{"linkerd-proxy", "linkerd-init", "linkerd-network-validator"},
	status:     "linkerd.io/proxy-version",
	// See https://linkerd.io/2/reference/proxy-configuration/: outbound, inbound, control, admin.
	ports: []uint16{4140, 4143, 4190, 4191},
	skip:  "config.linkerd.io/skip-inbound-ports",
	setup: "linkerd-init", flag: "--inbound-ports-to-ignore",
	leave: "the pod's annotation linkerd.io/inject: disabled",
}

const (
	istioProxy      = "istio-proxy"
	istioInject     = "sidecar.istio.io/inject"
	linkerdInject   = "linkerd.io/inject"
	dataplaneLabel  = "istio.io/dataplane-mode"
	dataplaneOfMesh = "ambient"
)

// meshesOf returns the meshes that the pod is in, given its namespace's labels. The mesh's webhook may run after this one. The API
// server then calls this one again (reinvocationPolicy IfNeeded), and the mesh's containers are there.
func meshesOf(pod *corev1.Pod, namespace map[string]string) []*mesh {
	var found []*mesh
	for _, m := range []*mesh{istio, linkerd} {
		if _, injected := pod.Annotations[m.status]; injected || m.hasContainer(pod) {
			found = append(found, m)
		}
	}
	mode, ok := pod.Labels[dataplaneLabel]
	if !ok {
		mode = namespace[dataplaneLabel]
	}
	if mode == dataplaneOfMesh && !slices.Contains(found, istio) {
		found = append(found, ambient)
	}
	return found
}

// Meshes returns the names of the meshes that the pod is in or asks for, given its namespace's labels.
func Meshes(pod *corev1.Pod, namespace map[string]string) []string {
	var names []string
	for _, m := range append(meshesOf(pod, namespace), requested(pod)) {
		if m != nil && !slices.Contains(names, m.name) {
			names = append(names, m.name)
		}
	}
	return names
}

// requested returns the mesh that the pod itself asks for, or nil.
func requested(pod *corev1.Pod) *mesh {
	inject := pod.Annotations[istioInject]
	if label, ok := pod.Labels[istioInject]; ok {
		inject = label
	}
	switch strings.ToLower(inject) {
	case "y", "yes", "true", "on":
		return istio
	}
	switch pod.Annotations[linkerdInject] {
	case "enabled", "ingress":
		return linkerd
	}
	return nil
}

func (m *mesh) hasContainer(pod *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool {
		return slices.Contains(m.containers, c.Name)
	})
}

// meshOfContainer returns the mesh whose container has the name, or nil.
func meshOfContainer(name string) *mesh {
	for _, m := range []*mesh{istio, linkerd} {
		if slices.Contains(m.containers, name) {
			return m
		}
	}
	return nil
}

// meshPorts returns the ports of the meshes' proxies, sorted.
func meshPorts(meshes []*mesh) []uint16 {
	var ports []uint16
	for _, m := range meshes {
		ports = append(ports, m.ports...)
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// refuseMesh refuses Redirect in a mesh. Both redirect inbound connections in the same hook of the kernel, and the rules that were added
// last win: either Redirect drops what it did not redirect, and clients time out, or connections do not pass through the mesh.
// Package redirect shows it with the meshes' rules.
func refuseMesh(pod *corev1.Pod, in Input) error {
	meshes := meshesOf(pod, in.NamespaceLabels)
	if m := requested(pod); m != nil {
		meshes = append(meshes, m)
	}
	if in.Sidecar.Interception != v1alpha1.InterceptRedirect || len(meshes) == 0 {
		return nil
	}
	return refusef("it is in the mesh of %s, which redirects the same connections as interception Redirect: "+
		"set spec.interception: Takeover in the policy (or in its SidecarClass) and make the app listen on 127.0.0.1, "+
		"or exclude the pod from the mesh by %s", meshes[0].name, meshes[0].leave)
}

// refuseMeshPorts refuses ports that both the mesh's proxy and the sidecar, or the app, would bind. Only a port that the mesh is known
// to use is left to it: a container's name alone excludes no port.
func refuseMeshPorts(pod *corev1.Pod, in Input) error {
	reserved := meshPorts(meshesOf(pod, in.NamespaceLabels))
	for _, c := range longRunning(pod) {
		own := meshOfContainer(c.Name)
		for _, p := range c.Ports {
			if !isTCP(p.Protocol) || !isPort(p.ContainerPort) {
				continue
			}
			known := slices.Contains(reserved, uint16(p.ContainerPort))
			switch {
			case own != nil && !slices.Contains(own.ports, uint16(p.ContainerPort)):
				return refusef("its container %q of %s declares port %d, which is not one of its default ports (%s): "+
					"use the default ports, or rename the container if it is not of the mesh", c.Name, own.name, p.ContainerPort, list(own.ports))
			case own == nil && known:
				return refusef("its container %q declares port %d, which the proxy of its mesh listens on (%s): "+
					"make the app listen on another port", c.Name, p.ContainerPort, list(reserved))
			}
		}
	}
	return nil
}

// refuseGuarded refuses a policy that names a port of the mesh's proxy.
func refuseGuarded(guarded []uint16, meshes []*mesh) error {
	for _, port := range guarded {
		if slices.Contains(meshPorts(meshes), port) {
			return refusef("the policy names port %d, which the proxy of the pod's mesh listens on: change spec.ports of the policy", port)
		}
	}
	return nil
}

// skipAdminPort makes the meshes leave the sidecar's admin port alone, so that the kubelet's probes reach it without mutual TLS and
// before the mesh's proxy runs. With the port in its annotation, Istio also does not rewrite probes of that port.
func skipAdminPort(pod *corev1.Pod, meshes []*mesh) error {
	for _, m := range meshes {
		if m.skip == "" {
			continue
		}
		if pod.Annotations == nil {
			pod.Annotations = map[string]string{}
		}
		pod.Annotations[m.skip] = withPort(pod.Annotations[m.skip])
		for i := range pod.Spec.InitContainers {
			if c := &pod.Spec.InitContainers[i]; c.Name == m.setup && !m.skipInSetup(c) {
				return refusef("its container %q has no flag %s, so %s would redirect the kubelet's probes of the sidecar: "+
					"add the annotation %s: %q to the pod", c.Name, m.flag, m.name, m.skip, withPort(""))
			}
		}
	}
	return nil
}

// skipInSetup adds the admin port to the flag of the init container that programs the mesh's redirection. It reports whether the port is
// skipped.
func (m *mesh) skipInSetup(c *corev1.Container) bool {
	for _, words := range [][]string{c.Args, c.Command} {
		if i := slices.Index(words, m.flag); i >= 0 && i+1 < len(words) {
			words[i+1] = withPort(words[i+1])
			return true
		}
	}
	return false
}

// withPort adds the admin port to a list separated by commas.
func withPort(ports string) string {
	admin := strconv.Itoa(int(compiled.AdminPort))
	for part := range strings.SplitSeq(ports, ",") {
		if strings.TrimSpace(part) == admin {
			return ports
		}
	}
	if strings.TrimSpace(ports) == "" {
		return admin
	}
	return ports + "," + admin
}

func list(ports []uint16) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ports), " ", ", "), "[]")
}
