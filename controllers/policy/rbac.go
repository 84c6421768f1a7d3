package policy

// RBAC of the reconcilers. Documents are created in every namespace, and create cannot be restricted by name.
//
// +kubebuilder:rbac:groups=postern.dev,resources=securitypolicies;sidecarclasses;tokenrevocations,verbs=get;list;watch
// +kubebuilder:rbac:groups=postern.dev,resources=securitypolicies/status;sidecarclasses/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces;pods,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;update;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=postern-system,resources=leases,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=postern-system,resources=leases,resourceNames=postern-operator,verbs=get;update
// +kubebuilder:rbac:groups="",namespace=postern-system,resources=events,verbs=create;patch
