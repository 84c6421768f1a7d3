package render

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
)

const (
	documentVolume = VolumePrefix + "document"
	tokenVolume    = VolumePrefix + "token"
	spoolVolume    = VolumePrefix + "spool"
)

// tokenLifetime is that of the sidecar's service-account token, in seconds; the kubelet renews it well before it expires.
const tokenLifetime int64 = 3600

// fileMode allows the sidecar's user to read files that the kubelet writes as root.
const fileMode int32 = 0o444

// Volumes returns what the sidecar mounts: the document and Secrets, without which a pod can start as well, the tokens
// for polling the operator and for logging in to Vault, and claims, for which a pod waits, because Kubernetes knows no optional ones.
func (s Sidecar) Volumes() []corev1.Volume {
	volumes := []corev1.Volume{
		{Name: documentVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: ConfigMapName(s.Policy.Name)},
			DefaultMode:          ptr.To(fileMode),
			Optional:             ptr.To(true),
		}}},
		{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: ptr.To(fileMode),
			Sources:     s.tokens(),
		}}},
	}
	for _, secret := range s.secrets() {
		volumes = append(volumes, corev1.Volume{Name: secretVolumeName(secret), VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{
				SecretName: secret, DefaultMode: ptr.To(fileMode), Optional: ptr.To(true)}}})
	}
	for _, claim := range s.Policy.Claims() {
		volumes = append(volumes, corev1.Volume{Name: claimVolumeName(claim), VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim, ReadOnly: true}}})
	}
	if size := s.spool(); size > 0 {
		volumes = append(volumes, corev1.Volume{Name: spoolVolume, VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: resource.NewQuantity(2*size+spoolReserve, resource.BinarySI)}}})
	}
	return volumes
}

// tokens returns the sidecar's service-account tokens: for the operator, for Vault if the class logs in with one, and for key sets,
// with the cluster's CA.
func (s Sidecar) tokens() []corev1.VolumeProjection {
	tokens := []corev1.VolumeProjection{projectedToken(compiled.OperatorAudience, compiled.OperatorTokenFile)}
	if audience := s.vaultAudience(); audience != "" {
		tokens = append(tokens, projectedToken(audience, compiled.VaultTokenFile))
	}
	audiences := s.Policy.KeysAudiences()
	for _, audience := range audiences {
		tokens = append(tokens, projectedToken(audience, compiled.KeysTokenName(audience)))
	}
	if len(audiences) > 0 {
		tokens = append(tokens, clusterCA())
	}
	return tokens
}

func projectedToken(audience, file string) corev1.VolumeProjection {
	return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
		Audience: audience, ExpirationSeconds: ptr.To(tokenLifetime), Path: path.Base(file),
	}}
}

// clusterCA is the CA of the Kubernetes API, which the cluster publishes in every namespace. It is optional, so that a pod can start
// without it.
func clusterCA() corev1.VolumeProjection {
	return corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
		LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
		Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: compiled.ClusterCAName}},
		Optional:             ptr.To(true),
	}}
}

// vaultAudience returns the audience of the token for Vault; empty if the class does not log in with a service-account token.
func (s Sidecar) vaultAudience() string {
	if v := s.Policy.Vault; v != nil && v.Kubernetes != nil {
		return v.Kubernetes.Audience
	}
	return ""
}

func (s Sidecar) volumeMounts() []corev1.VolumeMount {
	mounts := []corev1.VolumeMount{
		{Name: documentVolume, MountPath: compiled.DocumentDir, ReadOnly: true},
		{Name: tokenVolume, MountPath: path.Dir(compiled.OperatorTokenFile), ReadOnly: true},
	}
	for _, secret := range s.secrets() {
		mounts = append(mounts, corev1.VolumeMount{
			Name: secretVolumeName(secret), MountPath: path.Join(compiled.SecretsDir, secret), ReadOnly: true})
	}
	for _, claim := range s.Policy.Claims() {
		mounts = append(mounts, corev1.VolumeMount{
			Name: claimVolumeName(claim), MountPath: path.Join(compiled.VolumesDir, claim), ReadOnly: true})
	}
	if s.spool() > 0 {
		mounts = append(mounts, corev1.VolumeMount{Name: spoolVolume, MountPath: compiled.SpoolDir})
	}
	return mounts
}

// spoolReserve is what the volume of the audit trail may hold in addition to twice the spool, in bytes. The kubelet evicts a pod whose
// volume is larger, so the limit is well above what the sidecar writes.
const spoolReserve = 64 << 20

// spool returns the size of the audit trail's spool on a volume, in bytes; 0 if it is in memory, or there is none.
func (s Sidecar) spool() int64 {
	if o := s.Policy.AuditOptions; o != nil && o.SpoolVolume {
		return o.SpoolBytes
	}
	return 0
}

// secrets returns the names of the Kubernetes Secrets that the document refers to, each once, in its order.
func (s Sidecar) secrets() []string {
	var names []string
	seen := map[string]bool{}
	for _, ref := range s.Policy.SecretRefs() {
		if ref.Name != "" && !seen[ref.Name] {
			seen[ref.Name] = true
			names = append(names, ref.Name)
		}
	}
	return names
}
