package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// population is what many pods cost.
type population struct {
	pods int
	// counted is the use from the first pod until the statuses count all, connected from the first sidecar's poll until all statuses
	// have them as current, and held is for a time in which nothing changes.
	counted, connected, held spent
	// late is the time from the last pod until the statuses count all.
	late time.Duration
	// ready is the time from the start of a new process until it is ready, and again is until the last sidecar polls it.
	ready time.Duration
	again spent
}

// delivered is the time from a change until sidecars have it.
type delivered struct {
	sidecars                    int
	first, half, last, enforced []time.Duration
}

// fleets creates pods with simulated sidecars: of one policy each of the sizes of o.fleets, and the rest of all policies.
func (o *operators) fleets(ctx context.Context, n int) error {
	if err := o.clients[0].DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(namespaceOf(0)), client.GracePeriodSeconds(0)); err != nil {
		return fmt.Errorf("deleting the pods of the admission rows: %w", err)
	}
	if err := o.await(ctx, "no pods", func() bool { return o.view.total.matched == 0 }); err != nil {
		return err
	}
	all, err := o.newFleets(ctx, n)
	if err != nil {
		return err
	}
	p := &population{}
	for _, f := range all {
		p.pods += f.size
	}
	pods, err := o.count(ctx, p, all)
	if err != nil {
		return err
	}
	polls, end := context.WithCancel(ctx)
	defer end()
	if err := o.connect(polls, p, all, pods); err != nil {
		return err
	}
	var rows []*delivered
	for i := range o.fleetSizes {
		d, err := o.deliver(ctx, all[i])
		if err != nil {
			return err
		}
		rows = append(rows, d)
	}
	if err := o.rejoin(ctx, p); err != nil {
		return err
	}
	if err := o.printPods(n, p); err != nil {
		return err
	}
	return o.printDelivered(rows)
}

// podsPerPolicy is the number of pods of a policy, apart from those of o.fleetSizes.
const podsPerPolicy = 20

// newFleets creates the policies of the fleets. The other pods belong to some of the n policies.
func (o *operators) newFleets(ctx context.Context, n int) ([]*fleet, error) {
	var all []*fleet
	left := o.pods
	for i, size := range o.fleetSizes {
		f := newFleet(types.NamespacedName{Namespace: namespaceOf(i), Name: fmt.Sprintf("fleet-%d", size)})
		if err := o.clients[0].Create(ctx, o.policy(f.policy.Namespace, f.policy.Name)); err != nil {
			return nil, err
		}
		f.size, left = size, left-size
		all = append(all, f)
	}
	for i := 0; left > 0; i++ {
		f := newFleet(policyName(i % n))
		f.size = min(left, max(podsPerPolicy, (left+n-1)/n))
		left -= f.size
		all = append(all, f)
	}
	return all, o.await(ctx, "the fleets' policies to be ready", func() bool { return o.view.total.ready == n+len(o.fleetSizes) })
}

// count creates the pods, and measures until every status has the right number of pods.
func (o *operators) count(ctx context.Context, p *population, all []*fleet) ([]*corev1.Pod, error) {
	if _, err := o.quiet(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(o.progress, "operator: creating %d pods\n", p.pods)
	m, err := o.mark()
	if err != nil {
		return nil, err
	}
	pods, err := o.fill(ctx, all)
	if err != nil {
		return nil, fmt.Errorf("creating pods: %w", err)
	}
	created := time.Now()
	if err := o.await(ctx, "statuses that count all pods", func() bool { return o.view.total.matched == p.pods && o.view.total.injected == p.pods }); err != nil {
		return nil, err
	}
	p.late = time.Since(created)
	p.counted, err = m.until(time.Now())
	return pods, err
}

// connect starts the sidecars' polls, and waits until all statuses have them as current. Then nothing changes for a while.
func (o *operators) connect(ctx context.Context, p *population, all []*fleet, pods []*corev1.Pod) error {
	if _, err := o.quiet(ctx); err != nil {
		return err
	}
	fmt.Fprintf(o.progress, "operator: connecting %d sidecars\n", p.pods)
	var owners []*fleet
	for _, f := range all {
		for range f.size {
			owners = append(owners, f)
		}
	}
	m, err := o.mark()
	if err != nil {
		return err
	}
	if err := each(ctx, podsAtOnce, len(pods), func(_ context.Context, i int) error { return o.join(ctx, owners[i], pods[i]) }); err != nil {
		return err
	}
	if err := o.current(ctx, p); err != nil {
		return err
	}
	if p.connected, err = m.until(time.Now()); err != nil {
		return err
	}
	time.Sleep(o.settle) // the reconciles that find nothing to do any more
	if m, err = o.mark(); err != nil {
		return err
	}
	time.Sleep(o.held)
	p.held, err = m.until(time.Now())
	return err
}

func (o *operators) current(ctx context.Context, p *population) error {
	return o.await(ctx, "statuses in which all sidecars are current", func() bool { return o.view.total.current == p.pods })
}

// deliver changes the policy of a fleet, and measures until the last sidecar has the document, and until the status says that it is
// enforced.
func (o *operators) deliver(ctx context.Context, f *fleet) (*delivered, error) {
	fmt.Fprintf(o.progress, "operator: delivering to %d sidecars\n", f.size)
	d := &delivered{sidecars: f.size}
	for i := range o.repetitions + 1 {
		began, generation, err := o.change(ctx, f.policy, i)
		if err != nil {
			return nil, err
		}
		at, err := f.await(ctx, generation)
		if err != nil {
			return nil, err
		}
		if err := o.await(ctx, "a status in which the policy is enforced", func() bool {
			return o.view.is(f.policy, generation, func(s policyState) bool { return s.enforced == 1 && s.current == f.size })
		}); err != nil {
			return nil, err
		}
		enforced := time.Now()
		if i == 0 { // a warm-up
			continue
		}
		d.first, d.half, d.last = append(d.first, at[0].Sub(began)), append(d.half, at[len(at)/2].Sub(began)), append(d.last, at[len(at)-1].Sub(began))
		d.enforced = append(d.enforced, enforced.Sub(began))
	}
	return d, nil
}

// rejoin restarts the operator, and measures until every sidecar polls the new process.
func (o *operators) rejoin(ctx context.Context, p *population) error {
	fmt.Fprintf(o.progress, "operator: restarting with %d sidecars\n", p.pods)
	if err := o.endOperator(); err != nil {
		return err
	}
	began := time.Now()
	if err := o.startOperator(ctx); err != nil {
		return err
	}
	p.ready = time.Since(began)
	m := mark{o: o, at: began}
	ctx, cancel := context.WithTimeout(ctx, quietLimit)
	defer cancel()
	for {
		f, err := o.figures(ctx)
		if err != nil {
			return err
		}
		if int(f.polls) >= p.pods && f.waiting == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the sidecars to poll again, %.0f do: %w", f.polls, ctx.Err())
		case <-time.After(time.Second):
		}
	}
	var err error
	p.again, err = m.until(time.Now())
	return err
}
