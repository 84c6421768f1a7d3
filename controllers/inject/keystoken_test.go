package inject

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/api/v1alpha1"
)

// testKeysToken: a policy whose key set asks for the pod's token gives its pods, also restricted ones, that token and the cluster's CA.
func testKeysToken(t *testing.T, c client.Client) {
	const namespace = "keys-token"
	policy := securityPolicy("orders", 0)
	policy.Namespace, policy.Spec.Interception = namespace, v1alpha1.InterceptTakeover
	policy.Spec.JWT = &v1alpha1.JWT{Providers: []v1alpha1.JWTProvider{{
		Name: "cluster", Issuer: "https://kubernetes.default.svc", Audiences: []string{"orders"}, Algorithms: []v1alpha1.Algorithm{"RS256"},
		JWKS: v1alpha1.JWKS{
			URI: "https://kubernetes.default.svc/openid/v1/jwks", BearerToken: &v1alpha1.BearerToken{ServiceAccount: &v1alpha1.ServiceAccountToken{}},
		},
	}}}
	labels := map[string]string{v1alpha1.InjectionLabel: v1alpha1.InjectionLabelEnabled, enforceLabel: "restricted"}
	create(t, c, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: labels}}, serviceAccount(namespace), policy)
	pod := created(t, c, namespace, restrictedPod())
	var files []string
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil || !slices.ContainsFunc(sidecarOf(t, pod).VolumeMounts, func(m corev1.VolumeMount) bool {
			return m.Name == v.Name && m.MountPath == compiled.KeysTokenDir
		}) {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				files = append(files, s.ServiceAccountToken.Path+" "+s.ServiceAccountToken.Audience)
			}
			if s.ConfigMap != nil {
				files = append(files, s.ConfigMap.Items[0].Path)
			}
		}
	}
	want := []string{"operator " + compiled.OperatorAudience, compiled.KeysTokenName("") + " ", compiled.ClusterCAName}
	if !slices.Equal(files, want) {
		t.Errorf("the sidecar's files are %q, want %q", files, want)
	}
}
