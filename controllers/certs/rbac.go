package certs

// What the keeper may do: nothing beyond these names. The Secrets are created, empty, by the chart or the manifests.
//
// +kubebuilder:rbac:groups="",namespace=postern-system,resources=secrets,resourceNames=postern-certs;postern-signing-key,verbs=get;list;watch;update
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=mutatingwebhookconfigurations;validatingwebhookconfigurations,resourceNames=postern,verbs=get;list;watch;update
