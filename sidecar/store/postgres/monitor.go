package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// run monitors the pool until ctx ends. It connects at once, so that Status is known soon. While the server is unavailable it probes
// often. Otherwise it only closes the idle connections whose credentials have been replaced.
func (p *Pool) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-timer.C:
			if p.available() {
				p.sweep(ctx)
			} else {
				p.probe(ctx)
			}
		}
		if p.available() {
			timer.Reset(idleInterval)
		} else {
			timer.Reset(probeInterval)
		}
	}
}

// available reports whether the breaker is closed and the latest request got a reply.
func (p *Pool) available() bool {
	var out *outage
	err := p.last.Load().err
	return !p.breaker.Open() && err != ErrNotContacted && !errors.As(err, &out)
}

// probe checks whether the server takes statements, and is no standby.
func (p *Pool) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.config.ConnectTimeout)
	defer cancel()
	standby := false
	found, err := p.attempt(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&standby)
	})
	if found == answered && standby {
		found, err = readOnly, errStandby
	}
	_ = p.judge(found, err)
	if (found == answered || found == refused) && p.breaker.Reset() {
		p.log.Info("the database is available again", "address", p.config.Address)
	}
}

// errStandby is the outcome of a probe.
var errStandby = errors.New("the server is a standby")

// sweep closes the idle connections whose credentials have been replaced: acquiring them checks that.
func (p *Pool) sweep(ctx context.Context) {
	for _, conn := range p.pool.AcquireAllIdle(ctx) {
		conn.Release()
	}
}
