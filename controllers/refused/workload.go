package refused

import (
	"context"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/controllers/status"
)

// found is what a workload says about its pods.
type found struct {
	labels  map[string]string
	missing int32
	// message is the API server's about a pod; empty if the workload does not have it.
	message string
}

func groupOf(apiVersion string) string {
	group, _, _ := strings.Cut(apiVersion, "/")
	return group
}

// newObject returns an object to read the workload into; nil if it is of a kind that is not read.
func newObject(k key) client.Object {
	switch k.group + "/" + k.kind {
	case "apps/ReplicaSet":
		return &appsv1.ReplicaSet{}
	case "apps/StatefulSet":
		return &appsv1.StatefulSet{}
	case "apps/DaemonSet":
		return &appsv1.DaemonSet{}
	case "batch/Job":
		return &batchv1.Job{}
	}
	return nil
}

func read(ctx context.Context, reader client.Reader, k key) (found, error) {
	object := newObject(k)
	if err := reader.Get(ctx, types.NamespacedName{Namespace: k.namespace, Name: k.name}, object); err != nil {
		return found{}, fmt.Errorf("reading %s: %w", k, err)
	}
	return judge(object), nil
}

// judge returns the labels of the workload's pods and how many do not exist.
func judge(object client.Object) found {
	switch o := object.(type) {
	case *appsv1.ReplicaSet:
		f := found{labels: o.Spec.Template.Labels}
		for _, c := range o.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue && c.Reason == failedCreate {
				f.missing, f.message = max(0, wanted(o.Spec.Replicas)-o.Status.Replicas), c.Message
			}
		}
		return f
	case *appsv1.StatefulSet:
		return found{labels: o.Spec.Template.Labels, missing: max(0, wanted(o.Spec.Replicas)-o.Status.Replicas)}
	case *appsv1.DaemonSet:
		return found{labels: o.Spec.Template.Labels, missing: max(0, o.Status.DesiredNumberScheduled-o.Status.CurrentNumberScheduled)}
	case *batchv1.Job:
		return found{labels: o.Spec.Template.Labels, missing: missingOfJob(o)}
	}
	return found{}
}

func missingOfJob(job *batchv1.Job) int32 {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return 0
		}
	}
	if job.Spec.Suspend != nil && *job.Spec.Suspend {
		return 0
	}
	want := wanted(job.Spec.Parallelism)
	if job.Spec.Completions != nil {
		want = min(want, *job.Spec.Completions-job.Status.Succeeded)
	} else if job.Status.Succeeded > 0 {
		return 0 // a work queue: after the first success no further pods start
	}
	return max(0, want-job.Status.Active)
}

// wanted is the number of pods in a spec; the API server's default is 1.
func wanted(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// workloadOf names the workload as users do: a Deployment instead of its ReplicaSet.
func workloadOf(k key, podLabels map[string]string) status.Workload {
	yes := true
	return status.WorkloadOf(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: podLabels, OwnerReferences: []metav1.OwnerReference{{
		APIVersion: k.group + "/v1", Kind: k.kind, Name: k.name, Controller: &yes,
	}}}})
}

// maxText bounds what is kept of a message, in bytes. The API allows events of 1 KiB, and older ones are larger.
const maxText = 512

// cause returns what the API server said, without the words of the controller around it and without the name of the pod, which is
// another one for each attempt.
func cause(message string) string {
	message = strings.TrimPrefix(message, "(combined from similar events): ")
	message = strings.TrimPrefix(message, "Error creating: ")
	if _, after, ok := strings.Cut(message, " failed error: "); ok && strings.HasPrefix(message, "create Pod ") {
		message = after
	}
	if _, after, ok := strings.Cut(message, `" is forbidden: `); ok && strings.HasPrefix(message, `pods "`) {
		message = after
	}
	if len(message) > maxText {
		message = strings.ToValidUTF8(message[:maxText], "") + "…"
	}
	return strings.Clone(message)
}
