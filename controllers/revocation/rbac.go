package revocation

// What the reconciler may do.
//
// +kubebuilder:rbac:groups=postern.dev,resources=tokenrevocations;securitypolicies;sidecarclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups=postern.dev,resources=tokenrevocations/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=configmaps;pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
