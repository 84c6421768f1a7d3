package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/revocation/revocationredis"
	"github.com/posterndev/postern/test/freeport"
)

// runNamespace is the namespace of a policy without one in `postern run`.
const runNamespace = "default"

// revocations measures requests while more and more other tokens are revoked. The index of a sidecar holds some hundred thousand; above
// that it looks up each token in Redis.
func (s *suite) revocations(ctx context.Context) error {
	free, err := freeport.Addresses(1)
	if err != nil {
		return err
	}
	redis := free[0] // of its own: the sidecars of other rows would load a million entries
	if err := s.startRedis(ctx, "redis-revocations", redis); err != nil {
		return err
	}
	p, err := s.postern(ctx, "revocations", policyOf(redisClass(redis), provider(s.issuer, s.keys)+"  revocation: {}\n"))
	if err != nil {
		return err
	}
	c := curve{place: "revocations", title: "Revoked tokens", label: "revoked tokens", sizes: []float64{1, 1000, 100_000, 1_000_000}}
	l, have := line{name: "Postern, RS256 warm, revocation"}, 0
	for _, n := range c.sizes {
		if err := s.revokeUpTo(ctx, p, redis, have, int(n)); err != nil {
			return err
		}
		have = int(n)
		r := at(l.name, p, "plain", s.warm())
		if err := s.interleave(ctx, fmt.Sprintf("revocations: %d", have), []*row{r}); err != nil {
			return err
		}
		l.rows = append(l.rows, r)
	}
	c.lines = []line{l}
	s.curveGoals = append(s.curveGoals, per("100,000 revocations / 1", median(l.rows[2].cpu), median(l.rows[0].cpu), 1.1))
	return s.publishCurve(c)
}

// revokeUpTo revokes tokens that nobody has, and at last one that the sidecar must then refuse.
func (s *suite) revokeUpTo(ctx context.Context, p *proxy, redis string, have, want int) error {
	client := goredis.NewClient(&goredis.Options{Addr: redis})
	defer client.Close()
	store := revocationredis.New(writer{client: client}, runNamespace)
	marker, err := s.rs.tokens(1)
	if err != nil {
		return err
	}
	name, err := credentials{Access: marker[0]}.names()
	if err != nil {
		return err
	}
	const batch = 1000
	expires := time.Now().Add(4 * time.Hour)
	count := want - have - 1
	err = each(ctx, 4, (count+batch-1)/batch, func(ctx context.Context, i int) error {
		var entries []revocation.Entry
		for n := i * batch; n < min((i+1)*batch, count); n++ {
			entries = append(entries, revocation.Entry{Kind: revocation.Token, Issuer: s.issuer, Value: "gone-" + strconv.Itoa(have+n), Expires: expires})
		}
		_, err := store.Add(ctx, entries...)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := store.Add(ctx, revocation.Entry{Kind: revocation.Token, Issuer: s.issuer, Value: name.TokenID, Expires: expires}); err != nil {
		return err
	}
	return s.untilRefused(ctx, p, marker[0])
}

// untilRefused waits until a sidecar refuses one token, and accepts another: its index is then complete.
func (s *suite) untilRefused(ctx context.Context, p *proxy, revoked string) error {
	client := newClient(1)
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	for {
		url := "http://" + p.addresses["plain"]
		refused, err := ask(ctx, client, url, credentials{Access: revoked})
		if err != nil {
			return fmt.Errorf("waiting for revocations: %w", err)
		}
		accepted, err := ask(ctx, client, url, credentials{Access: s.tokens[0]})
		if err != nil {
			return fmt.Errorf("waiting for revocations: %w", err)
		}
		if refused == http.StatusUnauthorized && accepted == http.StatusOK {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// writer is a connection that only adds revocations.
type writer struct{ client *goredis.Client }

func (w writer) Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error {
	return f(ctx, w.client)
}

var errWriter = errors.New("the bench only adds revocations")

func (writer) Hold(context.Context, string, func(context.Context, *goredis.Conn) error) error {
	return errWriter
}
func (writer) HoldTimeout(time.Duration) time.Duration { return time.Second }
func (writer) Prove(context.Context, string, func(context.Context, goredis.Pipeliner)) (doubt, err error) {
	return nil, errWriter
}
