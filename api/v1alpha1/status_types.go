package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Conditions of a SecurityPolicy (GEP-713 for the first two).
const (
	// ConditionAccepted: the policy is valid and not in conflict.
	ConditionAccepted = "Accepted"
	// ConditionProgrammed: the document is written, and every sidecar can get it.
	ConditionProgrammed = "Programmed"
	// ConditionEnforced: every matched pod has the sidecar, which runs this document, and no port of the app can be
	// reached around it.
	ConditionEnforced = "Enforced"
	// ConditionSharedState: limits, sessions and revocations hold across pods, in Redis.
	ConditionSharedState = "SharedState"
	// ConditionVaultReady: every sidecar that needs Vault is served by it. It is there where the policy names anything in
	// Vault.
	ConditionVaultReady = "VaultReady"
	// ConditionSigningKeyReady: every sidecar holds the key that signs tokens. It is there where the policy has tokens.
	ConditionSigningKeyReady = "SigningKeyReady"
	// ConditionKeysReady: every sidecar has the keys of every provider, and the files of spec.apiKeys. It is there where a provider's keys are
	// not inline, and with spec.apiKeys.
	ConditionKeysReady = "KeysReady"
	// ConditionCertificateReady: every sidecar has the certificates, CAs and revocation lists of spec.tls and spec.upstreamTLS, and none is about to
	// expire. It is there with either section.
	ConditionCertificateReady = "CertificateReady"
	// ConditionReady: the policy is accepted and its document is written, whether or not there are pods. With ConditionStalled it
	// is what kstatus, and so Flux and helm --wait, go by.
	ConditionReady = "Ready"
	// ConditionStalled: the policy will not become ready until somebody changes it or another policy.
	ConditionStalled = "Stalled"
	// ConditionClientAddressKnown: False while sidecars receive forwarding headers, such as X-Forwarded-For, from a proxy that is not in
	// trustedProxies. It is absent otherwise.
	ConditionClientAddressKnown = "ClientAddressKnown"
	// ConditionPodsAdmitted: False while a workload cannot create pods that the policy selects, because the API server refuses them:
	// the message has its reason. It is absent otherwise.
	ConditionPodsAdmitted = "PodsAdmitted"
)

// Reasons of PodsAdmitted.
const (
	// ReasonPodsRefused: Pod Security, a quota, a LimitRange or a webhook refuses pods.
	ReasonPodsRefused = "PodsRefused"
)

// Reasons of ClientAddressKnown.
const (
	// ReasonUntrustedProxy: a proxy in front of the pods is not in trustedProxies of the SidecarClass.
	ReasonUntrustedProxy = "UntrustedProxy"
)

// Reasons of Accepted.
const (
	// ReasonAccepted: nothing is wrong.
	ReasonAccepted = "Accepted"
	// ReasonInvalid: the policy, or any policy of the class, cannot be compiled; the message names the field.
	ReasonInvalid = "Invalid"
	// ReasonConflicted: an older policy selects some of the same pods.
	ReasonConflicted = "Conflicted"
	// ReasonClassNotFound: the SidecarClass does not exist, or none is marked default.
	ReasonClassNotFound = "SidecarClassNotFound"
)

// Reasons of Programmed.
const (
	// ReasonProgrammed: the document is written.
	ReasonProgrammed = "Programmed"
	// ReasonNotAccepted: an unaccepted policy is not programmed; running sidecars keep the last good document.
	ReasonNotAccepted = "NotAccepted"
	// ReasonInjectionDisabled: the namespace lacks the label that lets the webhook see its pods.
	ReasonInjectionDisabled = "InjectionDisabled"
	// ReasonWebhookMissing: the MutatingWebhookConfiguration that sends new pods to the operator is missing or was changed.
	ReasonWebhookMissing = "WebhookMissing"
	// ReasonPending: the document could not be written yet.
	ReasonPending = "Pending"
	// ReasonMissingRights: the operator lacks a right that it needs to deliver documents; the message names it.
	ReasonMissingRights = "MissingRights"
)

// Reasons of Enforced.
const (
	// ReasonEnforced: proved for every matched pod.
	ReasonEnforced = "Enforced"
	// ReasonNotProgrammed: there is no document to enforce.
	ReasonNotProgrammed = "NotProgrammed"
	// ReasonNoPods: no pod matches the selector.
	ReasonNoPods = "NoPods"
	// ReasonPodsWithoutSidecar: pods were created before the policy, or before the namespace was labelled.
	ReasonPodsWithoutSidecar = "PodsWithoutSidecar"
	// ReasonPodsOutdated: sidecars do not run this document yet, or were injected with settings that need a restart.
	ReasonPodsOutdated = "PodsOutdated"
	// ReasonReachableAround: an app listens where clients reach it around the sidecar.
	ReasonReachableAround = "ReachableAround"
	// ReasonAppFailing: a container of the app fails again and again under Takeover, most likely because it listens on the
	// wildcard address, where the sidecar has the port already.
	ReasonAppFailing = "AppFailing"
	// ReasonSidecarAltered: a container of the sidecar is not what the operator injected, for example because its image was changed.
	ReasonSidecarAltered = "SidecarAltered"
	// ReasonRedirectMissing: the rules that redirect a pod's traffic to its sidecar were deleted.
	ReasonRedirectMissing = "RedirectMissing"
	// ReasonReportTooOld: a sidecar has not polled the operator for minutes, so it is unknown what it runs.
	ReasonReportTooOld = "ReportTooOld"
	// ReasonRefusedBySidecar: a sidecar refused the document and keeps the last good one.
	ReasonRefusedBySidecar = "RefusedBySidecar"
	// ReasonSidecarTooOld: a sidecar's build does not know a feature of the policy. It keeps the last document that it can read,
	// with what is revoked since.
	ReasonSidecarTooOld = "SidecarTooOld"
	// ReasonShadow: the policy's mode is Shadow. Refusals are only counted and logged.
	ReasonShadow = "Shadow"
)

// Reasons of SharedState.
const (
	// ReasonRedis: sidecars count in Redis.
	ReasonRedis = "Redis"
	// ReasonInProcess: no Redis is configured; every pod counts for itself.
	ReasonInProcess = "InProcess"
	// ReasonRedisUnavailable: Redis is unavailable for some sidecars. Rules apply their onFailure.
	ReasonRedisUnavailable = "RedisUnavailable"
	// ReasonRedisEvicts: Redis may delete keys to make room, and with them sessions and revocations.
	ReasonRedisEvicts = "RedisEvicts"
)

// Reasons of CertificateReady, beside Ready and NoReport.
const (
	// ReasonCertificateUnavailable: a sidecar has no certificate, or no CA, so it refuses handshakes.
	ReasonCertificateUnavailable = "Unavailable"
	// ReasonCertificateExpired: clients refuse the certificate that a sidecar has, because nothing replaced it.
	ReasonCertificateExpired = "Expired"
	// ReasonCertificateExpiring: less than a fifth of the certificate's lifetime is left, and nothing has replaced it.
	ReasonCertificateExpiring = "Expiring"
	// ReasonListOutdated: a revocation list should have been replaced, so certificates that were revoked since are accepted.
	ReasonListOutdated = "ListOutdated"
)

// Reasons of VaultReady, SigningKeyReady and KeysReady. Those of VaultReady are the states that sidecars report.
const (
	// ReasonReady: every sidecar that runs the document has what it needs.
	ReasonReady = "Ready"
	// ReasonNoReport: no sidecar has reported yet that it runs the document.
	ReasonNoReport = "NoReport"
	// ReasonVaultSealed: Vault is sealed or not initialised.
	ReasonVaultSealed = "Sealed"
	// ReasonVaultUnreachable: Vault does not respond, or does not respond like a working Vault.
	ReasonVaultUnreachable = "Unreachable"
	// ReasonVaultUntrusted: Vault's certificate is not one of the CA bundle.
	ReasonVaultUntrusted = "Untrusted"
	// ReasonVaultThrottled: a quota of Vault is exceeded.
	ReasonVaultThrottled = "Throttled"
	// ReasonVaultPermissionDenied: the role's policies forbid what the policy names.
	ReasonVaultPermissionDenied = "PermissionDenied"
	// ReasonVaultWrongRole: the role does not exist, or is not for the pod's service account.
	ReasonVaultWrongRole = "WrongRole"
	// ReasonVaultLoginRefused: the login fails for another reason, such as a mount that does not exist.
	ReasonVaultLoginRefused = "LoginRefused"
	// ReasonVaultNoCredentials: the credentials for the login cannot be read in the pod.
	ReasonVaultNoCredentials = "NoCredentials"
	// ReasonVaultRefused: Vault accepts the login and refuses a request, such as for a key that Transit does not have.
	ReasonVaultRefused = "Refused"
	// ReasonSigningKeyUnavailable: a sidecar has no key that may sign, so nobody can log in or refresh there.
	ReasonSigningKeyUnavailable = "Unavailable"
	// ReasonKeysUnavailable: a sidecar has no keys of a provider, so requests with its tokens get 503.
	ReasonKeysUnavailable = "Unavailable"
	// ReasonRefreshFails: the keys of a provider cannot be loaded again; the last good ones are used for maxStale.
	ReasonRefreshFails = "RefreshFails"
	// ReasonRotationDue: the key is older than rotation.interval, and its owner has not replaced it.
	ReasonRotationDue = "RotationDue"
)

// ReasonNotStalled: reason of Stalled=False. Ready and Stalled otherwise have the reason of Accepted or Programmed.
const ReasonNotStalled = "NotStalled"

// Reasons of a TokenRevocation's conditions, beside Accepted, Enforced, NoPods and PodsOutdated.
const (
	// ReasonNoPolicy: no policy of the namespace accepts tokens of the issuer, or the named policy does not exist.
	ReasonNoPolicy = "NoPolicy"
	// ReasonTooMany: the policies' documents carry as many revocations as they can. Older ones must expire or be deleted.
	ReasonTooMany = "TooMany"
	// ReasonExpired: the last of the tokens has expired; the object can be deleted.
	ReasonExpired = "Expired"
)

// InjectionLabel on a namespace, with the value "enabled", lets the webhook see the namespace's pods.
const (
	InjectionLabel        = "postern.dev/injection"
	InjectionLabelEnabled = "enabled"
)

// SecurityPolicyStatus is the status that the operator observed.
type SecurityPolicyStatus struct {
	// ObservedGeneration is the generation that the status is about. If it is not metadata.generation, the operator has not looked at the last change.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions say whether the policy works, and what to change. Enforced is proved: every matched pod runs this document, and cannot be reached
	// around its sidecar. Accepted: the policy is valid. Programmed: its document is written. Ready and Stalled repeat the two for kstatus (Flux, Helm).
	// SharedState, VaultReady, SigningKeyReady, KeysReady, CertificateReady, ClientAddressKnown and PodsAdmitted are about what sidecars need. postern status shows them.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Document is the SHA-256 of the compiled document, as sidecars report it.
	// +optional
	Document string `json:"document,omitempty"`
	// Revision of the newest document that was written. It never decreases. New pods accept no older document.
	// +optional
	Revision int64 `json:"revision,omitempty"`
	// Pods counts the matched pods.
	// +optional
	Pods *PodCounts `json:"pods,omitempty"`
}

// PodCounts counts pods that are not finished or terminating.
type PodCounts struct {
	// Matched is the number of running pods that the selector selects.
	Matched int32 `json:"matched"`
	// Injected is the number of them that have the sidecar. The others were created before the policy, or before the namespace's label: restart them.
	Injected int32 `json:"injected"`
	// Current is the number of sidecars that run the current document.
	Current int32 `json:"current"`
	// Refused is the number of pods that ReplicaSets, StatefulSets, DaemonSets and Jobs want and the API server refuses. They are not
	// among the matched pods. The condition PodsAdmitted has the reasons.
	// +optional
	Refused int32 `json:"refused,omitempty"`
	// Summary is current/matched, for the output of kubectl get.
	Summary string `json:"summary"`
	// Offenders are the first few pods that prevent the policy from being enforced, with the reason.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	Offenders []PodOffence `json:"offenders,omitempty"`
}

// PodOffence is a pod that prevents a policy from being enforced.
type PodOffence struct {
	// Name of the pod.
	Name string `json:"name"`
	// Reason is one of the reasons of the condition Enforced.
	Reason string `json:"reason"`
	// Message says what is wrong with the pod, and what to do, with the command.
	// +optional
	Message string `json:"message,omitempty"`
}
