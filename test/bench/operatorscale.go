package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/posterndev/postern/api/v1alpha1"
	"github.com/posterndev/postern/controllers/render"
)

// scale is what a number of policies costs.
type scale struct {
	policies int
	// applied is the time in which the policies were created; first is until all of them were ready, and idle afterwards.
	applied     time.Duration
	first, idle spent
	// reconciles is the number of reconciles until then.
	reconciles float64
	// ready is the time from the start of a new process, with everything present, until it is ready, and again until it has
	// reconciled everything.
	ready time.Duration
	again spent
	// settled is its resident memory afterwards, in MiB.
	settled float64
}

// scale applies n policies, and restarts the operator.
func (o *operators) scale(ctx context.Context, n int) (*scale, error) {
	s := &scale{policies: n}
	if _, err := o.quiet(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(o.progress, "operator: applying %d policies\n", n)
	m, err := o.mark()
	if err != nil {
		return nil, err
	}
	if err := o.parallel(ctx, n, func(ctx context.Context, c client.Client, i int) error {
		name := policyName(i)
		return c.Create(ctx, o.policy(name.Namespace, name.Name))
	}); err != nil {
		return nil, fmt.Errorf("applying policies: %w", err)
	}
	s.applied = time.Since(m.at)
	if err := o.await(ctx, "all policies to be ready", func() bool { return o.view.total.ready == n }); err != nil {
		return nil, err
	}
	if s.first, err = m.until(time.Now()); err != nil {
		return nil, err
	}
	if _, err := o.quiet(ctx); err != nil {
		return nil, err
	}
	after, err := m.until(time.Now())
	if err != nil {
		return nil, err
	}
	s.first.cpu, s.first.peak = after.cpu, after.peak // with the reconciles that find nothing to do any more
	f, err := o.figures(ctx)
	if err != nil {
		return nil, err
	}
	s.reconciles = f.reconciles
	if m, err = o.mark(); err != nil {
		return nil, err
	}
	time.Sleep(o.settle)
	if s.idle, err = m.until(time.Now()); err != nil {
		return nil, err
	}
	return s, o.again(ctx, s)
}

// again restarts the operator.
func (o *operators) again(ctx context.Context, s *scale) error {
	fmt.Fprintf(o.progress, "operator: restarting with %d policies\n", s.policies)
	if err := o.endOperator(); err != nil {
		return err
	}
	began := time.Now()
	if err := o.startOperator(ctx); err != nil {
		return err
	}
	s.ready = time.Since(began)
	m := mark{o: o, at: began}
	for {
		quiet, err := o.quiet(ctx)
		if err != nil {
			return err
		}
		if s.again, err = m.until(quiet); err != nil {
			return err
		}
		f, err := o.figures(ctx)
		if err != nil {
			return err
		}
		if int(f.reconciles) >= s.policies && f.waiting == 0 {
			break
		}
	}
	time.Sleep(o.settle)
	var err error
	s.settled, _, err = o.memory()
	return err
}

// changes changes one policy after the other, and measures the time until its document is written.
func (o *operators) changes(ctx context.Context, n int) error {
	if _, err := o.quiet(ctx); err != nil {
		return err
	}
	fmt.Fprintf(o.progress, "operator: changing one of %d policies\n", n)
	count := 10 * o.repetitions
	var took, ready []time.Duration
	before, err := o.figures(ctx)
	if err != nil {
		return err
	}
	m, err := o.mark()
	if err != nil {
		return err
	}
	for i := range count {
		name := policyName(i * n / count)
		began, generation, err := o.change(ctx, name, i)
		if err != nil {
			return err
		}
		if err := o.await(ctx, "the document of a changed policy", func() bool { return o.written(name, generation) }); err != nil {
			return err
		}
		took = append(took, time.Since(began))
		if err := o.await(ctx, "a changed policy to be ready", func() bool { return o.view.is(name, generation, isReady) }); err != nil {
			return err
		}
		ready = append(ready, time.Since(began))
	}
	if _, err := o.quiet(ctx); err != nil {
		return err
	}
	used, err := m.until(time.Now())
	if err != nil {
		return err
	}
	after, err := o.figures(ctx)
	if err != nil {
		return err
	}
	return o.printChanges(n, took, ready, used.cpu/time.Duration(count), (after.reconciles-before.reconciles)/float64(count))
}

// change changes a policy's limit, and returns when the request began and the new generation.
func (o *operators) change(ctx context.Context, name types.NamespacedName, round int) (time.Time, int64, error) {
	p := &v1alpha1.SecurityPolicy{ObjectMeta: o.policy(name.Namespace, name.Name).ObjectMeta}
	patch := fmt.Appendf(nil, `{"spec":{"headers":{"set":[{"name":"X-Team","value":"round-%d"}]}}}`, round)
	began := time.Now()
	err := o.clients[0].Patch(ctx, p, client.RawPatch(types.MergePatchType, patch))
	return began, p.Generation, err
}

// written reports whether the policy's document is that of a generation; the view's lock is held.
func (o *operators) written(policy types.NamespacedName, generation int64) bool {
	return o.view.documents[types.NamespacedName{Namespace: policy.Namespace, Name: render.ConfigMapName(policy.Name)}] >= generation
}
