package render

import (
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/compiled"
)

const (
	documentVolume = VolumePrefix + "document"
	tokenVolume    = VolumePrefix + "token"
)

// tokenLifetime of the sidecar's service-account token, in seconds; the kubelet renews it well before.
const tokenLifetime int64 = 3600

// fileMode lets the sidecar's user read what the kubelet writes as root.
const fileMode int32 = 0o444

// Volumes returns what the sidecar mounts: the document and Secrets, which a pod can start without, and the token it
// polls the operator with.
func (s Sidecar) Volumes() []corev1.Volume {
	volumes := []corev1.Volume{
		{Name: documentVolume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: ConfigMapName(s.Policy.Name)},
			DefaultMode:          ptr.To(fileMode),
			Optional:             ptr.To(true),
		}}},
		{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			DefaultMode: ptr.To(fileMode),
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
				Audience:          compiled.OperatorAudience,
				ExpirationSeconds: ptr.To(tokenLifetime),
				Path:              path.Base(compiled.OperatorTokenFile),
			}}},
		}}},
	}
	for _, secret := range s.secrets() {
		volumes = append(volumes, corev1.Volume{Name: secretVolumeName(secret), VolumeSource: corev1.VolumeSource{
			Secret: &corev1.SecretVolumeSource{
				SecretName: secret, DefaultMode: ptr.To(fileMode), Optional: ptr.To(true)}}})
	}
	return volumes
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
	return mounts
}

// secrets names the Secrets that the document refers to, in its order, each once.
func (s Sidecar) secrets() []string {
	var names []string
	seen := map[string]bool{}
	for _, ref := range s.Policy.SecretRefs() {
		if !seen[ref.Name] {
			seen[ref.Name] = true
			names = append(names, ref.Name)
		}
	}
	return names
}
