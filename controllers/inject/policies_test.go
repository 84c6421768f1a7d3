package inject

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/compile"
)

// livePolicies lists the policies for each pod.
type livePolicies struct{ reader client.Reader }

func (l livePolicies) Select(ctx context.Context, namespace string, podLabels map[string]string) (*v1alpha1.SecurityPolicy, error) {
	list := &v1alpha1.SecurityPolicyList{}
	if err := l.reader.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	var active []v1alpha1.SecurityPolicy
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			active = append(active, p)
		}
	}
	return compile.NewSelection(active).Select(podLabels), nil
}

func (l livePolicies) Known(namespace string, podLabels map[string]string) *v1alpha1.SecurityPolicy {
	policy, _ := l.Select(context.Background(), namespace, podLabels)
	return policy
}
