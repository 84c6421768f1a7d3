package main

import "context"

// turns is the number of logged-in users during the request measurements. They send requests in turn.
const turns = 200

// logIn logs in n new users.
func (c *costs) logIn(ctx context.Context, at *member, n int) ([]credentials, error) {
	out, names := make([]credentials, n), c.people(n)
	err := each(ctx, c.connections, n, func(ctx context.Context, i int) (err error) {
		out[i], err = login(ctx, c.client, at.url, names[i])
		return err
	})
	return out, err
}

// ready prepares a repetition and returns its work.
type ready = func(ctx context.Context) (work, error)

// The indexes of those requestLegs with which others are compared.
const (
	passingLeg = iota
	bareLeg
	askingLeg
	pollingLeg
)

func (c *costs) requestLegs(ctx context.Context) ([]*leg, error) {
	sidecars, err := c.logIn(ctx, c.other, turns)
	if err != nil {
		return nil, err
	}
	peers, err := c.logIn(ctx, c.asking, turns)
	if err != nil {
		return nil, err
	}
	return []*leg{
		c.again("sidecar: policy without rules", c.passing, sidecars),
		c.again("peer that only proxies", c.bare, peers),
		c.again("peer that asks Redis", c.asking, peers),
		c.again("peer that polls Redis", c.polling, peers),
		c.again("sidecar: tokens, sessions, revocation", c.guarded, sidecars),
		c.again("sidecar: the same with an access log", c.logged, sidecars),
		c.again("sidecar: the same with an expression", c.expression, sidecars),
		c.again("sidecar: API key, revocation", c.keyed, []credentials{{APIKey: c.apiKey}}),
		{name: "sidecar: the first request of each token", member: c.guarded, count: c.logins, begin: c.fresh(sidecars)},
	}, nil
}

// again sends requests of the same users again and again.
func (c *costs) again(name string, m *member, sessions []credentials) *leg {
	do := asking(c.client, m, sessions)
	return &leg{name: name, member: m, count: c.requests, begin: func(ctx context.Context) (work, error) {
		return do, each(ctx, c.connections, 2*turns, do) // opens the connections and caches the tokens
	}}
}

// fresh sends one request with each token. Another sidecar issued the tokens. Requests with known tokens warm up the sidecar
// first.
func (c *costs) fresh(known []credentials) ready {
	return func(ctx context.Context) (work, error) {
		sessions, err := c.logIn(ctx, c.other, c.logins)
		if err != nil {
			return nil, err
		}
		return asking(c.client, c.guarded, sessions), each(ctx, c.connections, 2*turns, asking(c.client, c.guarded, known))
	}
}

// loginLegs returns the legs of logins and refreshes. Each leg of the sidecar precedes that of the peer.
func (c *costs) loginLegs() []*leg {
	var legs []*leg
	for _, m := range []*member{c.guarded, c.asking} {
		legs = append(legs, &leg{name: "login", member: m, count: c.logins, begin: c.loggingIn(m)})
	}
	for _, m := range []*member{c.protected, c.asking} {
		legs = append(legs, &leg{name: "login with loginProtection", member: m, count: c.logins, begin: c.loggingIn(m)})
	}
	for _, m := range []*member{c.guarded, c.asking} {
		legs = append(legs, &leg{name: "refresh", member: m, count: c.logins, begin: c.refreshing(m)})
	}
	return legs
}

func (c *costs) loggingIn(m *member) ready {
	return func(ctx context.Context) (work, error) {
		names := c.people(c.logins)
		_, err := c.logIn(ctx, m, 2*c.connections) // opens the connections
		return func(ctx context.Context, i int) error {
			_, err := login(ctx, c.client, m.url, names[i])
			return err
		}, err
	}
}

func (c *costs) refreshing(m *member) ready {
	return func(ctx context.Context) (work, error) {
		sessions, err := c.logIn(ctx, m, c.logins)
		return func(ctx context.Context, i int) error {
			_, err := refresh(ctx, c.client, m.url, sessions[i].Refresh)
			return err
		}, err
	}
}
