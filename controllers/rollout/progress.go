package rollout

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/controllers/status"
)

// progress is the state of a workload's current rollout.
type progress struct {
	object client.Object
	// template is the template of new pods.
	template *corev1.PodTemplateSpec
	// held is the reason why a changed template does not replace every pod by itself; empty if it does.
	held string
	done bool
}

// read returns the progress of the workload.
func read(ctx context.Context, r client.Reader, namespace string, w status.Workload) (progress, error) {
	key := types.NamespacedName{Namespace: namespace, Name: w.Name}
	var p progress
	var err error
	switch w.Kind {
	case status.Deployment:
		d := &appsv1.Deployment{}
		err = r.Get(ctx, key, d)
		p = ofDeployment(d)
	case status.StatefulSet:
		s := &appsv1.StatefulSet{}
		err = r.Get(ctx, key, s)
		p = ofStatefulSet(s)
	case status.DaemonSet:
		d := &appsv1.DaemonSet{}
		err = r.Get(ctx, key, d)
		p = ofDaemonSet(d)
	default:
		return progress{}, fmt.Errorf("reading %s: a %s cannot be restarted", w, w.Kind)
	}
	if err != nil {
		return progress{}, fmt.Errorf("reading %s in namespace %q: %w", w, namespace, err)
	}
	return p, nil
}

func ofDeployment(d *appsv1.Deployment) progress {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	p := progress{object: d, template: &d.Spec.Template}
	if d.Spec.Paused {
		p.held = "it is paused"
	}
	s := d.Status
	p.done = s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want
	return p
}

func ofStatefulSet(d *appsv1.StatefulSet) progress {
	want := int32(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	p := progress{object: d, template: &d.Spec.Template}
	u := d.Spec.UpdateStrategy
	switch {
	case u.Type == appsv1.OnDeleteStatefulSetStrategyType:
		p.held = "its updateStrategy is OnDelete"
	case u.RollingUpdate != nil && u.RollingUpdate.Partition != nil && *u.RollingUpdate.Partition > 0:
		p.held = "its updateStrategy has a partition"
	}
	s := d.Status
	p.done = s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want
	return p
}

func ofDaemonSet(d *appsv1.DaemonSet) progress {
	p := progress{object: d, template: &d.Spec.Template}
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		p.held = "its updateStrategy is OnDelete"
	}
	s := d.Status
	p.done = s.ObservedGeneration >= d.Generation && s.UpdatedNumberScheduled == s.DesiredNumberScheduled &&
		s.NumberAvailable == s.DesiredNumberScheduled
	return p
}
