package status

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestWorkloadOf(t *testing.T) {
	owned := func(apiVersion, kind, name, hash string) *corev1.Pod {
		p := &corev1.Pod{}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, Controller: ptr.To(true)}}
		if hash != "" {
			p.Labels = map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: hash}
		}
		return p
	}
	tests := map[string]struct {
		pod             *corev1.Pod
		want            string
		wantRestartable bool
	}{
		"Deployment":                       {owned("apps/v1", "ReplicaSet", "orders-5d", "5d"), "deployment/orders", true},
		"ReplicaSet without Deployment":    {owned("apps/v1", "ReplicaSet", "orders", ""), "replicaset/orders", false},
		"StatefulSet":                      {owned("apps/v1", "StatefulSet", "db", ""), "statefulset/db", true},
		"Job":                              {owned("batch/v1", "Job", "once", ""), "job/once", false},
		"StatefulSet of another API group": {owned("apps.kruise.io/v1", "StatefulSet", "db", ""), "statefulset.apps.kruise.io/db", false},
		"no owner":                         {&corev1.Pod{}, "/", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if w := WorkloadOf(tt.pod); w.String() != tt.want || w.Restartable() != tt.wantRestartable {
				t.Errorf("the workload is %s, restartable %t", w, w.Restartable())
			}
		})
	}
}
