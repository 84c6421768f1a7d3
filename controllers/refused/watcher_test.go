package refused

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/posterndev/postern/controllers/status"
)

func ptr[T any](v T) *T { return &v }

var template = corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}}

func replicaSet(status int32, message string) *appsv1.ReplicaSet {
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-5d"},
		Spec:       appsv1.ReplicaSetSpec{Replicas: ptr(int32(3)), Template: *template.DeepCopy()},
		Status:     appsv1.ReplicaSetStatus{Replicas: status},
	}
	rs.Spec.Template.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = "5d"
	if message != "" {
		rs.Status.Conditions = []appsv1.ReplicaSetCondition{{
			Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: failedCreate, Message: message,
		}}
	}
	return rs
}

func heard(kind, name, message string) *corev1.Event {
	group := "apps/v1"
	if kind == "Job" {
		group = "batch/v1"
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Reason: failedCreate, Message: message,
		InvolvedObject: corev1.ObjectReference{APIVersion: group, Kind: kind, Namespace: "shop", Name: name},
	}
}

// watching returns a watcher of policies that select app=web, and counts what it reads.
func watching(t *testing.T, objects ...client.Object) (*Watcher, client.Client, *clocktesting.FakeClock) {
	t.Helper()
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(objects...).Build()
	now := clocktesting.NewFakeClock(time.Unix(1e9, 0))
	w, err := NewWatcher(Config{
		Watch: c, Reader: c, Clock: now, Registerer: prometheus.NewRegistry(),
		Policed: func(namespace string) bool { return namespace == "shop" },
		Selects: func(_ string, labels map[string]string) bool { return labels["app"] == "web" },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, c, now
}

// announced refreshes, and returns the labels of the announced pods.
func announced(t *testing.T, w *Watcher) (out []map[string]string) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); w.refresh(t.Context()) }()
	for {
		select {
		case e := <-w.Changed():
			out = append(out, e.Object.GetLabels())
		case <-done:
			return out
		}
	}
}

// TestRefusedPods follows a ReplicaSet from a refusal to its pods.
func TestRefusedPods(t *testing.T) {
	rs := replicaSet(1, `pods "web-5d-x7" is forbidden: exceeded quota: small`)
	w, c, now := watching(t, rs)
	w.hear(heard("ReplicaSet", "web-5d", `Error creating: pods "web-5d-abcde" is forbidden: exceeded quota: small`))
	if got := announced(t, w); len(got) != 1 || got[0]["app"] != "web" {
		t.Fatalf("announced %v", got)
	}
	want := status.Refusal{Workload: status.Workload{Kind: "Deployment", Name: "web"}, Count: 2, Text: "exceeded quota: small"}
	if got := w.In("shop"); len(got) != 1 || got[0].Refusal != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if got := testutil.ToFloat64(w.pods.WithLabelValues("shop")); got != 2 {
		t.Errorf("the metric is %v", got)
	}
	w.hear(heard("ReplicaSet", "web-5d", `(combined from similar events): Error creating: pods "web-5d-fghij" is forbidden: exceeded quota: small`))
	if got := announced(t, w); len(got) != 0 {
		t.Errorf("the same reason for another pod was announced: %v", got)
	}
	if err := c.Status().Update(t.Context(), replicaSet(3, "")); err != nil {
		t.Fatal(err)
	}
	if got := announced(t, w); len(got) != 1 || len(w.In("shop")) != 0 {
		t.Errorf("announced %v, and %v is left", got, w.In("shop"))
	}
	now.Step(2 * grace)
	if announced(t, w); len(w.workloads) != 0 {
		t.Errorf("%d workloads are remembered", len(w.workloads))
	}
}

// TestForgedEvents checks that events alone show nothing and fill no memory.
func TestForgedEvents(t *testing.T) {
	other := replicaSet(0, "no")
	other.Name, other.Spec.Template.Labels = "other", map[string]string{"app": "other"}
	w, _, _ := watching(t, other, replicaSet(0, ""))
	for i := range 1000 {
		w.hear(heard("ReplicaSet", fmt.Sprintf("forged-%d", i), strings.Repeat("x", 9000)))
	}
	if len(w.workloads) != maxOfNamespace {
		t.Errorf("%d workloads are remembered, want %d", len(w.workloads), maxOfNamespace)
	}
	for _, e := range w.workloads {
		if len(e.text) > maxText+len("…") {
			t.Errorf("a text has %d bytes", len(e.text))
		}
	}
	if got := announced(t, w); len(got) != 0 || len(w.workloads) != 0 {
		t.Errorf("announced %v, and %d are remembered", got, len(w.workloads))
	}
	elsewhere, custom := heard("ReplicaSet", "web-5d", "x"), heard("Rollout", "web", "x")
	elsewhere.Namespace = "elsewhere"
	for _, e := range []*corev1.Event{elsewhere, custom, heard("ReplicaSet", "other", "x"), heard("ReplicaSet", "web-5d", "not in its status")} {
		w.hear(e)
	}
	if got := announced(t, w); len(got) != 0 || len(w.In("shop")) != 0 {
		t.Errorf("announced %v", got)
	}
}

// TestBoundOfAllWorkloads checks that many namespaces cannot fill the memory either.
func TestBoundOfAllWorkloads(t *testing.T) {
	w, _, _ := watching(t)
	w.cfg.Policed = func(string) bool { return true }
	for i := range maxWorkloads + 100 {
		e := heard("ReplicaSet", "web", "x")
		e.Namespace = fmt.Sprintf("n%d", i)
		w.hear(e)
	}
	if len(w.workloads) != maxWorkloads {
		t.Errorf("%d workloads are remembered, want %d", len(w.workloads), maxWorkloads)
	}
}

func TestMissing(t *testing.T) {
	job := func(spec batchv1.JobSpec, status batchv1.JobStatus) *batchv1.Job {
		spec.Template = template
		return &batchv1.Job{Spec: spec, Status: status}
	}
	for name, tc := range map[string]struct {
		object client.Object
		want   int32
	}{
		"replica set":                {replicaSet(1, "no"), 2},
		"replica set without reason": {replicaSet(1, ""), 0},
		"replica set that shrinks":   {replicaSet(5, "no"), 0},
		"stateful set":               {&appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Replicas: ptr(int32(3)), Template: template}, Status: appsv1.StatefulSetStatus{Replicas: 1}}, 2},
		"stateful set by default":    {&appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Template: template}}, 1},
		"daemon set":                 {&appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: template}, Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 4, CurrentNumberScheduled: 1}}, 3},
		"job":                        {job(batchv1.JobSpec{}, batchv1.JobStatus{}), 1},
		"job, almost done":           {job(batchv1.JobSpec{Parallelism: ptr(int32(5)), Completions: ptr(int32(9))}, batchv1.JobStatus{Succeeded: 7, Active: 1}), 1},
		"job, done":                  {job(batchv1.JobSpec{}, batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}}), 0},
		"job, suspended":             {job(batchv1.JobSpec{Suspend: ptr(true)}, batchv1.JobStatus{}), 0},
		"work queue, ending":         {job(batchv1.JobSpec{Parallelism: ptr(int32(3))}, batchv1.JobStatus{Succeeded: 1}), 0},
	} {
		if got := judge(tc.object); got.missing != tc.want || got.labels["app"] != "web" {
			t.Errorf("%s: %d are missing, want %d; labels %v", name, got.missing, tc.want, got.labels)
		}
	}
}

func TestCause(t *testing.T) {
	for message, want := range map[string]string{
		`Error creating: pods "a-1" is forbidden: exceeded quota: q`:                                           "exceeded quota: q",
		`create Pod a-0 in StatefulSet a failed error: pods "a-0" is forbidden: violates PodSecurity "b"`:      `violates PodSecurity "b"`,
		`Error creating: admission webhook "pods.postern.dev" denied the request: postern: policy "p" selects`: `admission webhook "pods.postern.dev" denied the request: postern: policy "p" selects`,
		`(combined from similar events): Error creating: Internal error`:                                       "Internal error",
		"": "",
	} {
		if got := cause(message); got != want {
			t.Errorf("%q: got %q, want %q", message, got, want)
		}
	}
}

func FuzzCause(f *testing.F) {
	f.Add(`Error creating: pods "a-1" is forbidden: exceeded quota: q`)
	f.Fuzz(func(t *testing.T, message string) {
		if got := cause(message); len(got) > maxText+len("…") || len(got) > len(message)+len("…") {
			t.Errorf("%q became %q", message, got)
		}
	})
}

// TestStartHearsEventsAndEnds runs the watch itself.
func TestStartHearsEventsAndEnds(t *testing.T) {
	w, c, now := watching(t, replicaSet(0, "no room"))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Start(ctx) }()
	e := heard("ReplicaSet", "web-5d", "no room")
	for i := 0; ; i++ { // the fake client's watch sends only what is created after it began
		e := e.DeepCopy()
		e.Name = fmt.Sprintf("web.%d", i)
		if err := c.Create(ctx, e); err != nil {
			t.Fatal(err)
		}
		if now.HasWaiters() {
			now.Step(refresh)
		}
		select {
		case got := <-w.Changed():
			if got.Object.GetNamespace() != "shop" {
				t.Errorf("announced %v", got.Object)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the end: %v", err)
			}
			return
		case <-time.After(10 * time.Millisecond):
			if i > 3000 {
				t.Fatal("nothing was announced")
			}
		}
	}
}
