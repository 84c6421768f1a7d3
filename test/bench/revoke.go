package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// way is one way of revoking, on one kind of member.
type way struct {
	name    string
	members []*member
	rounds  int
	// wait is the maximum random pause between two rounds, so that revocations are spread over the poll interval.
	wait   time.Duration
	revoke func(context.Context, *http.Client, *member, credentials) error
}

func logout(ctx context.Context, client *http.Client, at *member, c credentials) error {
	return post(ctx, client, at.url+"/auth/logout", c.Access, nil, http.StatusNoContent, nil)
}

// byName revokes by the app's API. field is the request member for the value that pick returns.
func byName(field string, pick func(names) string) func(context.Context, *http.Client, *member, credentials) error {
	return func(ctx context.Context, client *http.Client, at *member, c credentials) error {
		n, err := c.names()
		if err != nil {
			return err
		}
		return post(ctx, client, at.loopback+"/v1/revocations", "", map[string]string{field: pick(n)}, http.StatusOK, nil)
	}
}

// revocation measures the time from revocation to refusal.
func (b *bench) revocation(ctx context.Context) error {
	results, err := b.timings(ctx)
	if err != nil {
		return err
	}
	return b.printRevocation(results)
}

// timings returns the timings of all ways, in their order.
func (b *bench) timings(ctx context.Context) ([]timing, error) {
	defer b.stop(len(b.programs))
	ways, err := b.ways(ctx)
	if err != nil {
		return nil, err
	}
	results := make([]timing, len(ways))
	for i, w := range ways {
		fmt.Fprintf(b.progress, "revoking: %s\n", w.name)
		if results[i], err = b.revokeBy(ctx, w); err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return results, nil
}

// pollingWay is the index of the polling peer in ways. The others are compared with it.
const pollingWay = 4

// ways starts the members and returns the ways of revoking.
func (b *bench) ways(ctx context.Context) ([]way, error) {
	var sidecars, polling, asking []*member
	for i := range b.fleet {
		s, err1 := b.sidecar(ctx, fmt.Sprintf("sidecar-%d", i), guarded(b.redis, "Errors"))
		p, err2 := b.peer(ctx, fmt.Sprintf("polling-%d", i), "poll")
		a, err3 := b.peer(ctx, fmt.Sprintf("asking-%d", i), "ask")
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		sidecars, polling, asking = append(sidecars, s), append(polling, p), append(asking, a)
	}
	const short = 10 * time.Millisecond
	return []way{
		{"sidecar: POST /auth/logout", sidecars, b.rounds, short, logout},
		{"sidecar: /v1/revocations, token_id", sidecars, b.rounds, short, byName("token_id", func(n names) string { return n.TokenID })},
		{"sidecar: /v1/revocations, session_id", sidecars, b.rounds, short, byName("session_id", func(n names) string { return n.Session })},
		{"sidecar: /v1/revocations, subject", sidecars, b.rounds, short, byName("subject", func(n names) string { return n.Subject })},
		{"peer that polls: POST /auth/logout", polling, b.pollRounds, time.Second, logout},
		{"peer that asks: POST /auth/logout", asking, b.rounds, short, logout},
	}, nil
}

// timing is the result of the rounds of one way.
type timing struct {
	name   string
	rounds int
	// fromCall and fromResponse are the times of every member in every round. slowest are the longest fromCall of each round.
	fromCall, fromResponse, slowest []time.Duration
	// The counts are as in seen. own counts the lateSent requests that were sent to the member that revoked.
	late, lateSent, own, again int
}

func (t *timing) add(round []seen, at int) {
	slowest := time.Duration(0)
	for _, s := range round {
		t.fromCall, t.fromResponse = append(t.fromCall, s.fromCall), append(t.fromResponse, s.fromResponse)
		t.late, t.lateSent, t.again = t.late+s.late, t.lateSent+s.lateSent, t.again+s.again
		slowest = max(slowest, s.fromCall)
	}
	t.own += round[at].lateSent
	t.slowest = append(t.slowest, slowest)
}

func (b *bench) revokeBy(ctx context.Context, w way) (timing, error) {
	t := timing{name: w.name, rounds: w.rounds}
	client := newClient(2)
	defer client.CloseIdleConnections()
	for i := range w.rounds {
		at := i % len(w.members)
		round, err := b.round(ctx, client, w, w.members[at])
		if err != nil {
			return t, err
		}
		t.add(round, at)
	}
	return t, nil
}

// round logs in a new user, makes every member get requests with the token, revokes it at one member, and waits for refusals.
func (b *bench) round(ctx context.Context, client *http.Client, w way, at *member) ([]seen, error) {
	c, err := login(ctx, client, at.url, b.person())
	if err != nil {
		return nil, err
	}
	time.Sleep(rand.N(w.wait))
	watch := b.watch(ctx, client, w.members, c.Access)
	defer watch.end() //nolint:errcheck // a second end returns the same error
	if err := watch.await(ctx, "warm", func(a *asker) <-chan struct{} { return a.warm }); err != nil {
		return nil, err
	}
	called := time.Now()
	if err := w.revoke(ctx, client, at, c); err != nil {
		return nil, err
	}
	answered := time.Now()
	if err := watch.await(ctx, "refusing", func(a *asker) <-chan struct{} { return a.refused }); err != nil {
		return nil, err
	}
	time.Sleep(linger)
	if err := watch.end(); err != nil {
		return nil, err
	}
	out := make([]seen, len(watch.askers))
	for i, a := range watch.askers {
		out[i] = judge(a.samples, called, answered)
	}
	return out, nil
}
