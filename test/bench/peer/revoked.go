package main

import (
	"context"
	"log"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// revocations knows whether a token, or the session that it is of, is over.
type revocations interface {
	over(ctx context.Context, c *claims) (bool, error)
	revoke(ctx context.Context, c *claims) error
}

// asked asks Redis for each request: two round trips.
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

// pollEvery is how often such lists are usually read.
const pollEvery = time.Second

// listKey is the sorted set of what is revoked, by the time at which its tokens have expired.
const listKey = "revoked"

// polled looks into a copy of the list, and asks nobody.
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

// revoke knows its own revocations at once.
func (p *polled) revoke(ctx context.Context, c *claims) error {
	if err := p.redis.ZAdd(ctx, listKey, goredis.Z{Score: float64(c.ExpiresAt.Unix()), Member: c.ID}).Err(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids[c.ID] = struct{}{}
	return nil
}
