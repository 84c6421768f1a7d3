package revocation

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/posterndev/postern/api/v1alpha1"
)

// BenchmarkJudge judges a large namespace. In production this happens at most once per gatherDelay.
func BenchmarkJudge(b *testing.B) {
	for _, size := range []struct{ policies, pods, revocations int }{{1, 100, 1000}, {20, 200, 1000}, {100, 1000, 100}, {100, 1000, 1000}} {
		o := &observation{namespace: "shop", documents: map[string]document{}, classes: []v1alpha1.SidecarClass{{
			ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{v1alpha1.DefaultClassAnnotation: "true"}},
		}}}
		for i := range size.policies {
			o.policies = append(o.policies, *trusting(fmt.Sprintf("policy-%d", i)))
		}
		for i := range size.pods {
			bound := fmt.Sprintf("policy-%d", i%size.policies)
			o.pods = append(o.pods, *pod(fmt.Sprintf("pod-%d", i), bound))
		}
		for i := range size.revocations {
			o.revocations = append(o.revocations, *revoking(fmt.Sprintf("r-%d", i)))
		}
		b.Run(fmt.Sprintf("%d policies, %d pods, %d revocations", size.policies, size.pods, size.revocations), func(b *testing.B) {
			for b.Loop() {
				judge(o, newHistory().see(o.namespace, o.documents), start)
			}
		})
	}
}
