// Package v1alpha1 holds Postern's Kubernetes objects: SecurityPolicy says what is enforced in front of which pods,
// SidecarClass how the sidecars that enforce it are run, and TokenRevocation which tokens are refused before they expire.
//
// +kubebuilder:object:generate=true
// +groupName=postern.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is postern.dev/v1alpha1.
var GroupVersion = schema.GroupVersion{Group: "postern.dev", Version: "v1alpha1"}

// AddToScheme registers the package's types with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &SecurityPolicy{}, &SecurityPolicyList{}, &SidecarClass{}, &SidecarClassList{},
		&TokenRevocation{}, &TokenRevocationList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
