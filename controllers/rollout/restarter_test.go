package rollout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"context"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/posterndev/postern/controllers/status"
)

func deployment(name string, edit func(*appsv1.Deployment)) client.Object {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 2},
		Status:     appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1},
	}
	if edit != nil {
		edit(d)
	}
	return d
}

func workload(name string) status.Workload {
	return status.Workload{Kind: status.Deployment, Name: name}
}

func restartedFor(hash string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) { d.Annotations = map[string]string{RestartedForAnnotation: hash} }
}

func onHost(d *appsv1.Deployment) { d.Spec.Template.Spec.HostNetwork = true }

func refused(template *corev1.PodTemplateSpec) error {
	if template.Spec.HostNetwork {
		return errors.New("hostNetwork is set")
	}
	return nil
}

func TestStep(t *testing.T) {
	a, b := workload("a"), workload("b")
	tests := map[string]struct {
		objects       []client.Object
		workloads     map[status.Workload]bool
		wantRestarted status.Workload
		wantWaiting   bool
		wantNote      string // of a
	}{
		"the first of two": {
			objects: []client.Object{deployment("a", nil), deployment("b", nil)}, workloads: map[status.Workload]bool{a: true, b: true},
			wantRestarted: a, wantWaiting: true, wantNote: "waits for its rollout",
		},
		"the second after the first is complete": {
			objects:   []client.Object{deployment("a", restartedFor("h")), deployment("b", nil)},
			workloads: map[status.Workload]bool{a: false, b: true}, wantRestarted: b, wantWaiting: true,
		},
		"the second, because pods of the first would be refused": {
			objects:   []client.Object{deployment("a", onHost), deployment("b", nil)},
			workloads: map[status.Workload]bool{a: true, b: true}, wantRestarted: b, wantWaiting: true, wantNote: "would be refused: hostNetwork is set",
		},
		"the second, because the first waits for refused pods": {
			objects: []client.Object{deployment("a", func(d *appsv1.Deployment) {
				restartedFor("h")(d)
				onHost(d)
				d.Status.AvailableReplicas = 0
			}), deployment("b", nil)},
			workloads: map[status.Workload]bool{a: false, b: true}, wantRestarted: b, wantWaiting: true,
		},
		"none while the first rolls out": {
			objects: []client.Object{deployment("a", func(d *appsv1.Deployment) {
				restartedFor("h")(d)
				d.Status.AvailableReplicas = 0
			}), deployment("b", nil)},
			workloads: map[status.Workload]bool{a: false, b: true}, wantWaiting: true, wantNote: "waits for its rollout",
		},
		"not observed by its controller yet": {
			objects: []client.Object{deployment("a", func(d *appsv1.Deployment) {
				restartedFor("h")(d)
				d.Status.ObservedGeneration = 1
			}), deployment("b", nil)},
			workloads: map[status.Workload]bool{a: true, b: true}, wantWaiting: true, wantNote: "waits for its rollout",
		},
		"only once for a hash": {
			objects: []client.Object{deployment("a", restartedFor("h"))}, workloads: map[status.Workload]bool{a: true}, wantNote: "did not help",
		},
		"again for another hash": {
			objects: []client.Object{deployment("a", restartedFor("before"))}, workloads: map[status.Workload]bool{a: true},
			wantRestarted: a, wantWaiting: true, wantNote: "waits for its rollout",
		},
		"after a rollout in progress": {
			objects:   []client.Object{deployment("a", func(d *appsv1.Deployment) { d.Status.UpdatedReplicas = 0 })},
			workloads: map[status.Workload]bool{a: true}, wantWaiting: true, wantNote: "when its current rollout is complete",
		},
		"paused": {
			objects:   []client.Object{deployment("a", func(d *appsv1.Deployment) { d.Spec.Paused = true })},
			workloads: map[status.Workload]bool{a: true}, wantNote: "it is paused",
		},
		"deleted":         {workloads: map[status.Workload]bool{a: true}},
		"nothing stale":   {objects: []client.Object{deployment("a", nil)}, workloads: map[status.Workload]bool{a: false}},
		"bare pods, Jobs": {workloads: map[status.Workload]bool{{}: true, {Kind: "Job", Name: "x"}: true}},
		"a StatefulSet": {
			objects: []client.Object{&appsv1.StatefulSet{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s"},
				Status:     appsv1.StatefulSetStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1},
			}},
			workloads: map[status.Workload]bool{{Kind: status.StatefulSet, Name: "s"}: true}, wantRestarted: status.Workload{Kind: status.StatefulSet, Name: "s"}, wantWaiting: true,
		},
		"a StatefulSet with a partition": {
			objects: []client.Object{&appsv1.StatefulSet{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "s"},
				Spec: appsv1.StatefulSetSpec{UpdateStrategy: appsv1.StatefulSetUpdateStrategy{
					RollingUpdate: &appsv1.RollingUpdateStatefulSetStrategy{Partition: ptr.To(int32(1))},
				}},
			}},
			workloads: map[status.Workload]bool{{Kind: status.StatefulSet, Name: "s"}: true},
		},
		"a DaemonSet": {
			objects:   []client.Object{&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "d"}}},
			workloads: map[status.Workload]bool{{Kind: status.DaemonSet, Name: "d"}: true}, wantRestarted: status.Workload{Kind: status.DaemonSet, Name: "d"}, wantWaiting: true,
		},
		"a DaemonSet with OnDelete": {
			objects: []client.Object{&appsv1.DaemonSet{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "d"},
				Spec:       appsv1.DaemonSetSpec{UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}},
			}},
			workloads: map[status.Workload]bool{{Kind: status.DaemonSet, Name: "d"}: true},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithObjects(tt.objects...).Build()
			r := &Restarter{Reader: c, Writer: c, Now: func() time.Time { return time.Unix(1e9, 0) }}
			got, err := r.Step(t.Context(), Request{Namespace: "shop", Hash: "h", Workloads: tt.workloads, Refused: refused})
			if err != nil {
				t.Fatal(err)
			}
			if got.Restarted != tt.wantRestarted || got.Waiting != tt.wantWaiting {
				t.Errorf("restarted %v, waiting %t", got.Restarted, got.Waiting)
			}
			if !strings.Contains(got.Notes[a], tt.wantNote) {
				t.Errorf("the note is %q, want %q in it", got.Notes[a], tt.wantNote)
			}
			if tt.wantRestarted.Kind != status.Deployment {
				return
			}
			d := &appsv1.Deployment{}
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: tt.wantRestarted.Name}, d); err != nil {
				t.Fatal(err)
			}
			if d.Annotations[RestartedForAnnotation] != "h" || d.Spec.Template.Annotations[RestartedAtAnnotation] != "2001-09-09T01:46:40Z" {
				t.Errorf("the annotations are %v and %v", d.Annotations, d.Spec.Template.Annotations)
			}
		})
	}
}

func TestStepFails(t *testing.T) {
	broken := errors.New("no route")
	tests := map[string]interceptor.Funcs{
		"reading": {Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return broken
		}},
		"patching": {Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return broken
		}},
	}
	for name, funcs := range tests {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithObjects(deployment("a", nil)).WithInterceptorFuncs(funcs).Build()
			r := &Restarter{Reader: c, Writer: c, Now: time.Now}
			_, err := r.Step(t.Context(), Request{Namespace: "shop", Hash: "h", Workloads: map[status.Workload]bool{workload("a"): true}, Refused: refused})
			if !errors.Is(err, broken) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
