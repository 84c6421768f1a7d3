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

// restart advances the rollout of a policy with rollout: Automatic by one step. It restarts pods only if their replacements get
// a sidecar: the policy is valid, and the webhook sees the namespace and does not refuse the pods.
func (r *Reconciler) restart(ctx context.Context, o *observation, v *verdict) (rollout.Outcome, error) {
	if o.policy.Spec.Rollout != v1alpha1.RolloutAutomatic || !v.Valid || !o.enabled || o.webhook != "" {
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

// refusal returns a function that reports why the injector would refuse pods of a template; nil if it would not.
func refusal(o *observation, v *verdict) func(*corev1.PodTemplateSpec) error {
	return func(template *corev1.PodTemplateSpec) error {
		_, err := inject.Inject(inject.Input{
			Pod:     &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec},
			Sidecar: v.sidecar, NamespaceLabels: o.labels, Random: rand.Reader,
		})
		return err
	}
}

// pace limits how often a policy's workloads are read from the API server: not with every change of a pod.
type pace struct {
	mu    sync.Mutex
	steps map[types.NamespacedName]step
}

type step struct {
	outcome rollout.Outcome
	at      time.Time
}

func newPace() *pace { return &pace{steps: map[types.NamespacedName]step{}} }

// recent returns the outcome of the last step if it was less than rolloutPause ago. The outcome then says to wait, and names no
// restarted workload, so that its event is not recorded again.
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
