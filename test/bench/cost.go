package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// leg is one kind of work on one member. The legs are repeated in turn.
type leg struct {
	name   string
	member *member
	count  int
	begin  ready

	cpu       []time.Duration
	perSecond []float64
}

func (l *leg) run(ctx context.Context, connections int) (usage, error) {
	do, err := l.begin(ctx)
	if err != nil {
		return usage{}, err
	}
	return measure(ctx, l.member, connections, l.count, do)
}

// cost measures the CPU time per request, and logins and refreshes.
func (b *bench) cost(ctx context.Context) error {
	defer b.stop(len(b.programs))
	c, err := b.costs(ctx)
	if err != nil {
		return err
	}
	defer c.client.CloseIdleConnections()
	requests, err := c.requestLegs(ctx)
	if err != nil {
		return err
	}
	logins := c.loginLegs()
	if err := b.repeat(ctx, append(slices.Clone(requests), logins...)); err != nil {
		return err
	}
	if err := b.printCost(requests); err != nil {
		return err
	}
	return b.printLogins(logins)
}

// repeat runs the legs in turn, because the machine is noisy. The first repetition is a warm-up and does not count.
func (b *bench) repeat(ctx context.Context, legs []*leg) error {
	for i := range b.repetitions + 1 {
		fmt.Fprintf(b.progress, "cost: repetition %d of %d\n", i, b.repetitions)
		for _, l := range legs {
			u, err := l.run(ctx, b.connections)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			if i > 0 {
				l.cpu, l.perSecond = append(l.cpu, u.cpu), append(l.perSecond, u.perSecond)
			}
		}
	}
	return nil
}

// costs are the members whose cost is measured.
type costs struct {
	*bench
	client *http.Client
	// other is a second guarded sidecar. Users log in there and use their tokens at guarded, where they are new.
	passing, guarded, logged, expression, keyed, protected, other, bare, asking, polling *member
}

func (b *bench) costs(ctx context.Context) (*costs, error) {
	c := &costs{bench: b, client: newClient(b.connections)}
	var err error
	keep := func(m *member, e error) *member { err = errors.Join(err, e); return m }
	c.passing = keep(b.sidecar(ctx, "passing", passing))
	c.guarded = keep(b.sidecar(ctx, "guarded", guarded(b.redis, "Errors")))
	c.other = keep(b.sidecar(ctx, "other", guarded(b.redis, "Errors")))
	c.logged = keep(b.sidecar(ctx, "logged", guarded(b.redis, "All")))
	c.expression = keep(b.sidecar(ctx, "expression", withExpression(b.redis)))
	c.keyed = keep(b.sidecar(ctx, "keyed", withAPIKey(b.redis)))
	c.protected = keep(b.sidecar(ctx, "protected", withLoginProtection(b.redis)))
	c.bare = keep(b.peer(ctx, "bare", "off"))
	c.asking = keep(b.peer(ctx, "asking", "ask"))
	c.polling = keep(b.peer(ctx, "polling", "poll"))
	return c, err
}
