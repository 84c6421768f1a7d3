package render

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Bounds that Kubernetes sets, in bytes.
const (
	maxObjectName = 253
	maxLabel      = 63
)

// ConfigMapName returns the name of the ConfigMap that holds a policy's document: "postern-" and the policy's name, or
// "postern." and its digest if that is too long. No two policies share one, because the character after "postern" differs.
func ConfigMapName(policy string) string {
	if name := "postern-" + policy; len(name) <= maxObjectName {
		return name
	}
	return "postern." + digest(policy)
}

// LabelValue returns the value that labels name a policy by: its name, or "sha256_" and its digest if the name is too long. Names
// of objects contain no underscore.
func LabelValue(policy string) string {
	if len(policy) <= maxLabel {
		return policy
	}
	return "sha256_" + digest(policy)
}

// secretVolumeName returns the name of the volume of a Secret: a DNS label, unlike the Secret's name.
func secretVolumeName(secret string) string {
	if name := VolumePrefix + "secret-" + secret; len(name) <= maxLabel && !strings.Contains(secret, ".") {
		return name
	}
	return VolumePrefix + "hashed-" + digest(secret)
}

// claimVolumeName returns the name of the volume of a PersistentVolumeClaim: a DNS label, unlike the claim's name.
func claimVolumeName(claim string) string {
	if name := VolumePrefix + "claim-" + claim; len(name) <= maxLabel && !strings.Contains(claim, ".") {
		return name
	}
	return VolumePrefix + "hashed-claim-" + digest(claim)
}

// digest is the first 160 bits of the SHA-256 of s, in hexadecimal.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:20])
}
