// Package render turns compiled documents into Kubernetes objects: the ConfigMap that keeps a signed document, and the
// containers and volumes that a pod of the policy gets. It is pure: no client, no clock.
package render

import (
	"crypto/ed25519"

	corev1 "k8s.io/api/core/v1"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// Names of what is put into pods. VolumePrefix is what the names of all volumes begin with.
const (
	SidecarName  = "postern"
	RedirectName = "postern-redirect"
	VolumePrefix = "postern-"
)

// Annotations that an injected pod has, and the label that the operator's objects have.
const (
	// PolicyAnnotation names the policy that the sidecar enforces.
	PolicyAnnotation = "postern.dev/policy"
	// InjectionAnnotation is the InjectionHash that the pod was created with.
	InjectionAnnotation = "postern.dev/injection"
	// PolicyLabel names the policy that an object of the operator is of; see LabelValue.
	PolicyLabel = "postern.dev/policy"
)

// Settings are what the operator was installed with.
type Settings struct {
	// OperatorURL is where sidecars poll, and OperatorCA (PEM) what its certificate is checked against.
	OperatorURL string
	OperatorCA  string
	// DocumentKey verifies documents.
	DocumentKey ed25519.PublicKey
	// Image and ImagePullPolicy of sidecars whose class names none.
	Image           string
	ImagePullPolicy corev1.PullPolicy
}

// Sidecar is what the containers of one policy's pods are made of.
type Sidecar struct {
	Policy       *compiled.Policy
	Class        *v1alpha1.SidecarClass
	Interception v1alpha1.Interception
	Settings     Settings
	// Floor is the lowest revision of a document that the sidecar accepts; 0 accepts any. It is not a part of InjectionHash:
	// a floor that has risen since is no reason to restart a pod.
	Floor int64
}

// Pod is what a sidecar is told about its pod.
type Pod struct {
	// Ports are the TCP ports that containers declare.
	Ports []compiled.ContainerPort
	// Probes are those that were pointed at the sidecar.
	Probes []compiled.Probe
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
