//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/v1alpha1"
)

// testJob: a Job whose pod has a sidecar completes when its app ends.
func testJob(t *testing.T) {
	s := newSpace(t)
	s.apply(closed)
	spec := podSpec(env("EXIT_AFTER", "2s"))
	spec.RestartPolicy = corev1.RestartPolicyNever
	s.create(&batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: "report"},
		Spec: batchv1.JobSpec{BackoffLimit: ptr.To(int32(0)), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "report"}}, Spec: spec,
		}},
	})
	eventually(t, "waiting for the job to complete", func() error {
		job := &batchv1.Job{}
		if err := s.c.Get(t.Context(), s.key("report"), job); err != nil {
			return err
		}
		if job.Status.Succeeded != 1 {
			return fmt.Errorf("its status is %+v", job.Status)
		}
		return nil
	})
	if p := s.pods("report")[0]; len(p.Spec.InitContainers) != 2 {
		t.Errorf("the job's pod had no sidecar: %s", describe(&p))
	}
	s.hasCondition("closed", v1alpha1.ConditionEnforced, metav1.ConditionUnknown, v1alpha1.ReasonNoPods)
}
