package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenRevocation refuses tokens before they expire, in every pod of the namespace whose policy accepts them: one token, the tokens of a
// session, the tokens that a subject got before a time, or the tokens that a key signed. Sidecars get it with the document of their policy,
// so it needs no Redis and survives the loss of one. Deleting it ends the refusal. A session that it ended stays ended.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tokrev,categories=postern
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Enforced",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].reason`
// +kubebuilder:printcolumn:name="Sidecars",type=string,JSONPath=`.status.sidecars.summary`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expires`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TokenRevocation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TokenRevocationSpec `json:"spec"`
	// Status is what the operator observed. Until it has looked at the object, observedGeneration is -1, so that kstatus, and with it Flux and
	// helm --wait, do not take a new object for a ready one.
	// +optional
	// +kubebuilder:default={"observedGeneration":-1}
	Status TokenRevocationStatus `json:"status,omitempty"`
}

// TokenRevocationList is a list of TokenRevocation.
// +kubebuilder:object:root=true
type TokenRevocationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenRevocation `json:"items"`
}

// TokenRevocationSpec selects tokens. Exactly one of tokenID, sessionID, subject and keyID is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.tokenID), has(self.sessionID), has(self.subject), has(self.keyID)].filter(x, x).size() == 1",message="set exactly one of tokenID, sessionID, subject and keyID, such as subject: user-42"
// +kubebuilder:validation:XValidation:rule="!has(self.issuedBefore) || has(self.subject)",message="issuedBefore applies to subject only: set subject, or remove issuedBefore"
// +kubebuilder:validation:XValidation:rule="!has(self.expires) || !has(self.keyID)",message="expires does not apply to keyID, because a key stays refused until the object is deleted: remove expires"
// +kubebuilder:validation:XValidation:rule="(!has(self.tokenID) || bytes(self.tokenID).size() <= 512) && (!has(self.sessionID) || bytes(self.sessionID).size() <= 512) && (!has(self.subject) || bytes(self.subject).size() <= 512) && (!has(self.keyID) || bytes(self.keyID).size() <= 512)",message="tokenID, sessionID, subject and keyID have at most 512 bytes, which is fewer characters if they are not ASCII: write the value of the claim as it is in the token"
type TokenRevocationSpec struct {
	// PolicyName restricts the revocation to one SecurityPolicy.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PolicyName string `json:"policyName,omitempty"`
	// Issuer is the iss claim of the tokens.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer,omitempty"`
	// TokenID is the jti claim of one token: that token is refused.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	TokenID string `json:"tokenID,omitempty"`
	// SessionID is the sid claim. The session ends and can no longer be refreshed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	SessionID string `json:"sessionID,omitempty"`
	// Subject is the sub claim. Its tokens and sessions from before issuedBefore end.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Subject string `json:"subject,omitempty"`
	// KeyID is the kid of a signing key that is no longer trusted. The key is refused until this object is deleted.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	KeyID string `json:"keyID,omitempty"`
	// IssuedBefore is a time: tokens of the subject with an earlier iat are refused.
	// +optional
	IssuedBefore *metav1.Time `json:"issuedBefore,omitempty"`
	// Expires is when the last of the tokens has expired, so that the revocation is no longer needed. It does not apply to keyID.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
	// Reason is a note for people, such as "laptop stolen, ticket 4711". It has no effect.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
}

// TokenRevocationStatus is the status that the operator observed.
type TokenRevocationStatus struct {
	// ObservedGeneration is the generation that the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Enforced is True when every sidecar of the policies refuses the tokens. Accepted is False if no policy accepts such tokens, or its
	// document has no room. Ready and Stalled are for kstatus (Flux, Helm).
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Policies are the names of the SecurityPolicies whose documents contain the revocation: the first 64.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Policies []string `json:"policies,omitempty"`
	// Sidecars counts the pods of those policies, and how many have the revocation.
	// +optional
	Sidecars *SidecarCounts `json:"sidecars,omitempty"`
	// EnforcedTime is when every sidecar had the revocation for the first time.
	// +optional
	EnforcedTime *metav1.Time `json:"enforcedTime,omitempty"`
	// Expires is when the revocation ends, because the last of the tokens has expired. It is unset for a keyID.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// SidecarCounts counts the sidecars that have a revocation.
type SidecarCounts struct {
	// Matched is the number of pods that the policies select.
	Matched int32 `json:"matched"`
	// Current is the number of sidecars that have the revocation.
	Current int32 `json:"current"`
	// Summary is current/matched, for the output of kubectl get.
	Summary string `json:"summary"`
}
