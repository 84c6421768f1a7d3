package policy

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/contextlog"
	"github.com/posterndev/postern/controllers/inject"
	"github.com/posterndev/postern/controllers/rollout"
	"github.com/posterndev/postern/controllers/status"
)

// restart takes the rollout of a policy that wants it a step on. Pods are restarted only where they would come back with
// a sidecar: the policy compiles, and the webhook sees the namespace and would not refuse them.
func (r *Reconciler) restart(ctx context.Context, o *observation, v *verdict) (rollout.Outcome, error) {
	if o.policy.Spec.Rollout != v1alpha1.RolloutAutomatic || !v.Valid || !o.enabled {
		return rollout.Outcome{}, nil
	}
	request := rollout.Request{Namespace: o.name.Namespace, Hash: v.injection, Workloads: map[status.Workload]bool{}, Refused: refusal(o, v)}
	needed := false
	for i := range v.pods {
		p := &v.pods[i]
		if p.Governor == o.name.Name {
			request.Workloads[p.Workload] = request.Workloads[p.Workload] || p.NeedsRestart(o.name.Name)
			needed = needed || p.NeedsRestart(o.name.Name)
		}
	}
	if !needed {
		return rollout.Outcome{}, nil
	}
	now := r.cfg.Clock.Now()
	if last, ok := r.rollouts.recent(o.name, now); ok {
		return last, nil
	}
	outcome, err := r.cfg.Restarter.Step(ctx, request)
	if err != nil {
		return rollout.Outcome{}, fmt.Errorf("rolling out: %w", err)
	}
	r.rollouts.stepped(o.name, outcome, now)
	if w := outcome.Restarted; w != (status.Workload{}) {
		r.cfg.Events.Eventf(o.policy, nil, corev1.EventTypeNormal, "Restarted", "Rollout",
			"restarted %s, whose pods ran without the sidecar or with an outdated one", w)
		contextlog.From(ctx).Info("restarted a workload", "workload", w.String())
	}
	return outcome, nil
}

// refusal asks the injector what it would say to pods of a template.
func refusal(o *observation, v *verdict) func(*corev1.PodTemplateSpec) error {
	return func(template *corev1.PodTemplateSpec) error {
		_, err := inject.Inject(inject.Input{
			Pod:     &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec},
			Sidecar: v.sidecar, NamespaceLabels: o.labels, Random: rand.Reader,
		})
		return err
	}
}

// pace keeps a busy policy from asking the API server about its workloads with every change of a pod.
type pace struct {
	mu    sync.Mutex
	steps map[types.NamespacedName]step
}

type step struct {
	outcome rollout.Outcome
	at      time.Time
}

func newPace() *pace { return &pace{steps: map[types.NamespacedName]step{}} }

// recent returns the outcome of a step that was taken just now; it is to be waited for, and restarted nothing anew.
func (p *pace) recent(name types.NamespacedName, now time.Time) (rollout.Outcome, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, ok := p.steps[name]
	if !ok || now.Sub(s.at) >= rolloutPause {
		return rollout.Outcome{}, false
	}
	s.outcome.Restarted, s.outcome.Waiting = status.Workload{}, true
	return s.outcome, true
}

func (p *pace) stepped(name types.NamespacedName, outcome rollout.Outcome, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps[name] = step{outcome, now}
}

func (p *pace) forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.steps, name)
}
