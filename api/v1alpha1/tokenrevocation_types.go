package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TokenRevocation refuses tokens before they expire, in every pod of the namespace whose policy accepts them: one token, a
// session, all that a subject was issued before a time, or all that a key has signed. It reaches sidecars with their policy's
// document, so it needs no Redis and survives its loss. To delete it lifts the refusal; a session that it ended stays ended.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=tokrev,categories=postern
// +kubebuilder:printcolumn:name="Enforced",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Enforced")].reason`
// +kubebuilder:printcolumn:name="Sidecars",type=string,JSONPath=`.status.sidecars.summary`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expires`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type TokenRevocation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   TokenRevocationSpec   `json:"spec"`
	Status TokenRevocationStatus `json:"status,omitempty"`
}

// TokenRevocationList is a list of TokenRevocation.
// +kubebuilder:object:root=true
type TokenRevocationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []TokenRevocation `json:"items"`
}

// TokenRevocationSpec names tokens: exactly one of tokenID, sessionID, subject and keyID.
//
// +kubebuilder:validation:XValidation:rule="[has(self.tokenID), has(self.sessionID), has(self.subject), has(self.keyID)].filter(x, x).size() == 1",message="say exactly one of tokenID, sessionID, subject and keyID"
// +kubebuilder:validation:XValidation:rule="!has(self.issuedBefore) || has(self.subject)",message="issuedBefore goes with subject"
// +kubebuilder:validation:XValidation:rule="!has(self.expires) || !has(self.keyID)",message="expires does not go with keyID: a key stays refused until the object is deleted"
// +kubebuilder:validation:XValidation:rule="(!has(self.tokenID) || bytes(self.tokenID).size() <= 512) && (!has(self.sessionID) || bytes(self.sessionID).size() <= 512) && (!has(self.subject) || bytes(self.subject).size() <= 512) && (!has(self.keyID) || bytes(self.keyID).size() <= 512)",message="tokenID, sessionID, subject and keyID are of at most 512 bytes, which is fewer characters where they are not ASCII"
type TokenRevocationSpec struct {
	// PolicyName restricts the revocation to one SecurityPolicy. Left out: every policy of the namespace.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PolicyName string `json:"policyName,omitempty"`
	// Issuer is the tokens' iss. Left out: every issuer whose tokens a policy accepts.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Issuer string `json:"issuer,omitempty"`
	// TokenID is the claim jti of one token.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	TokenID string `json:"tokenID,omitempty"`
	// SessionID is the claim sid; the session ends, and can no longer be refreshed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	SessionID string `json:"sessionID,omitempty"`
	// Subject is the claim sub: its tokens, and sessions, from before issuedBefore end.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Subject string `json:"subject,omitempty"`
	// KeyID is the kid of a signing key that is no longer trusted. It stays refused until this object is deleted.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	KeyID string `json:"keyID,omitempty"`
	// IssuedBefore: tokens of the subject with an earlier iat are refused. Left out: the object's creation.
	// +optional
	IssuedBefore *metav1.Time `json:"issuedBefore,omitempty"`
	// Expires is when the last of the tokens has expired by itself, and the revocation may be forgotten. Left out, it follows
	// from the lifetimes that the policies grant; for providers without maxLifetime 24h are assumed. Not for a keyID.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
	// Reason is for people.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
}

// TokenRevocationStatus is what the operator did and saw.
type TokenRevocationStatus struct {
	// ObservedGeneration is the generation that the status is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions: Accepted, Enforced.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Policies are the SecurityPolicies whose documents carry the revocation, by name; the first 64.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Policies []string `json:"policies,omitempty"`
	// Sidecars counts the pods of those policies, and how many have the revocation.
	// +optional
	Sidecars *SidecarCounts `json:"sidecars,omitempty"`
	// EnforcedTime is when every sidecar first had it.
	// +optional
	EnforcedTime *metav1.Time `json:"enforcedTime,omitempty"`
	// Expires is when the revocation is forgotten, as the last of the tokens has expired; none for a keyID.
	// +optional
	Expires *metav1.Time `json:"expires,omitempty"`
}

// SidecarCounts counts sidecars that have been told something.
type SidecarCounts struct {
	// Matched pods are picked by the policies.
	Matched int32 `json:"matched"`
	// Current sidecars have it.
	Current int32 `json:"current"`
	// Summary is current/matched, for kubectl get.
	Summary string `json:"summary"`
}
