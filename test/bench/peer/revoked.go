package main

import (
	"context"
	"log"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// revocations reports whether a token or its session is revoked or ended.
type revocations interface {
	over(ctx context.Context, c *claims) (bool, error)
	revoke(ctx context.Context, c *claims) error
}

// asked makes two round trips to Redis for each request.
type asked struct{ redis *goredis.Client }

func (a asked) over(ctx context.Context, c *claims) (bool, error) {
	n, err := a.redis.Exists(ctx, "revoked:"+c.ID).Result()
	if err != nil || n > 0 {
		return true, err
	}
	err = a.redis.Get(ctx, "session:"+c.Session).Err()
	if err == goredis.Nil {
		return true, nil
	}
	return err != nil, err
}

func (a asked) revoke(ctx context.Context, c *claims) error {
	return a.redis.Set(ctx, "revoked:"+c.ID, 1, time.Until(c.ExpiresAt.Time)).Err()
}

// pollEvery is a usual interval for reading such lists.
const pollEvery = time.Second

// listKey is the sorted set of revocations. The score is the expiry of the last revoked token.
const listKey = "revoked"

// polled looks up revocations in a copy of the list, without a round trip.
type polled struct {
	redis *goredis.Client
	mu    sync.RWMutex
	ids   map[string]struct{}
}

func newPolled(client *goredis.Client) *polled {
	return &polled{redis: client, ids: map[string]struct{}{}}
}

func (p *polled) run(ctx context.Context) {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		if err := p.read(ctx); err != nil && ctx.Err() == nil {
			log.Print("reading the list of revoked tokens: ", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *polled) read(ctx context.Context) error {
	list, err := p.redis.ZRange(ctx, listKey, 0, -1).Result()
	if err != nil {
		return err
	}
	ids := make(map[string]struct{}, len(list))
	for _, id := range list {
		ids[id] = struct{}{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids = ids
	return nil
}

func (p *polled) over(_ context.Context, c *claims) (bool, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	_, revoked := p.ids[c.ID]
	return revoked, nil
}

// revoke also adds its own revocations to the copy at once.
func (p *polled) revoke(ctx context.Context, c *claims) error {
	if err := p.redis.ZAdd(ctx, listKey, goredis.Z{Score: float64(c.ExpiresAt.Unix()), Member: c.ID}).Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids[c.ID] = struct{}{}
	return nil
}
