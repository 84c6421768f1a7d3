// Package render turns compiled documents into Kubernetes objects: the ConfigMap that holds a signed document, and the
// containers and volumes of the policy's pods. It is pure: it uses no client and no clock.
package render

import (
	"crypto/ed25519"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// Names of the parts that are added to pods. The names of all volumes start with VolumePrefix.
const (
	SidecarName  = "postern"
	RedirectName = "postern-redirect"
	VolumePrefix = "postern-"
)

// Annotations of an injected pod, and the label of the operator's objects.
const (
	// PolicyAnnotation names the policy that the sidecar enforces.
	PolicyAnnotation = "postern.dev/policy"
	// InjectionAnnotation is the InjectionHash that the pod was created with.
	InjectionAnnotation = "postern.dev/injection"
	// PolicyLabel names the policy that an object of the operator belongs to; see LabelValue.
	PolicyLabel = "postern.dev/policy"
)

// Settings are those of the operator's installation.
type Settings struct {
	// OperatorURL is where sidecars poll, and OperatorCA the CA of its certificate, as PEM.
	OperatorURL string
	OperatorCA  string
	// OperatorIdentity changes when sidecars that were injected before do not trust the operator any more; see certs.Keeper.
	OperatorIdentity string
	// DocumentKey verifies documents.
	DocumentKey ed25519.PublicKey
	// Image and ImagePullPolicy are for sidecars whose class names none.
	Image           string
	ImagePullPolicy corev1.PullPolicy
	// ImageMirrors are registries, with an optional path, at which other webhooks may pull the sidecar's image.
	ImageMirrors []string
}

// Sidecar is what the containers of one policy's pods are made from.
type Sidecar struct {
	Policy       *compiled.Policy
	Class        *v1alpha1.SidecarClass
	Interception v1alpha1.Interception
	Settings     Settings
	// Floor is the lowest revision of a document that the sidecar accepts; 0 accepts any. It is not a part of InjectionHash:
	// a floor that has risen since is no reason to restart a pod.
	Floor int64
}

// Pod is what a sidecar knows about its pod.
type Pod struct {
	// Ports are the TCP ports that containers declare.
	Ports []compiled.ContainerPort
	// MeshPorts are the ports that the proxy of the pod's mesh listens on.
	MeshPorts []uint16
	// Probes are those that the sidecar forwards to the app.
	Probes []compiled.Probe
	// Guaranteed says that the pod has the QoS class Guaranteed, which it keeps.
	Guaranteed bool
	// MemoryBudget is the memory limit of the whole pod, in bytes; 0 for none.
	MemoryBudget int64
}

func (s Sidecar) image() string {
	if s.Class.Spec.Image != "" {
		return s.Class.Spec.Image
	}
	return s.Settings.Image
}

func (s Sidecar) imagePullPolicy() corev1.PullPolicy {
	if s.Class.Spec.ImagePullPolicy != "" {
		return s.Class.Spec.ImagePullPolicy
	}
	return s.Settings.ImagePullPolicy
}
