//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/posterndev/postern/api/v1alpha1"
)

// testJob: a Job whose pod has a sidecar completes when its app ends. Under Takeover it declares no port, and the sidecar listens on
// none.
func testJob(t *testing.T) {
	t.Run("Redirect", func(t *testing.T) { checkJob(t, closed, 2) })
	t.Run("Takeover without ports", func(t *testing.T) {
		policy := strings.ReplaceAll(closed, "  ports: [{port: 8080}]\n", "  interception: Takeover\n")
		checkJob(t, policy, 1, env("LISTEN", "127.0.0.1:8080"), func(spec *corev1.PodSpec) {
			spec.Containers[0].Ports, spec.Containers[0].ReadinessProbe = nil, nil
		})
	})
}

// checkJob runs a Job whose pod must have that many init containers.
func checkJob(t *testing.T, policy string, initContainers int, changes ...change) {
	s := newSpace(t)
	s.apply(policy)
	spec := podSpec(append(changes, env("EXIT_AFTER", "2s"))...)
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
	if p := s.pods("report")[0]; len(p.Spec.InitContainers) != initContainers {
		t.Errorf("the job's pod has not %d init containers: %s", initContainers, describe(&p))
	}
	s.hasCondition("closed", v1alpha1.ConditionEnforced, metav1.ConditionUnknown, v1alpha1.ReasonNoPods)
}
