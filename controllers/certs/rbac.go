package certs

// RBAC of the keeper: only these names. The chart or the manifests create the Secrets, empty.
//
// +kubebuilder:rbac:groups="",namespace=postern-system,resources=secrets,resourceNames=postern-certs;postern-signing-key,verbs=get;list;watch;update
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingwebhookconfigurations,resourceNames=postern,verbs=get;list;watch;update
