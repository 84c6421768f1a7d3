package certs

// RBAC of the keeper: only these names. The chart or the manifests create the Secrets, empty. The keeper creates them again if somebody
// deletes them; RBAC cannot limit that by name.
//
// +kubebuilder:rbac:groups="",namespace=postern-system,resources=secrets,verbs=create
// +kubebuilder:rbac:groups="",namespace=postern-system,resources=secrets,resourceNames=postern-certs;postern-signing-key,verbs=get;list;watch;update
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingwebhookconfigurations,resourceNames=postern,verbs=get;list;watch;update
