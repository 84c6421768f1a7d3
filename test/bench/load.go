package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// usage is the usage of n work items.
type usage struct {
	// cpu is the CPU time, user and system, of the measured process per item.
	cpu time.Duration
	// perSecond is the number of items per second of wall-clock time.
	perSecond float64
}

// work runs the item with the number i.
type work = func(ctx context.Context, i int) error

// measure runs n items with as many workers as connections, and returns the usage of the member's process.
func measure(ctx context.Context, m *member, connections, n int, do work) (usage, error) {
	before, err := cpuTime(m.pid())
	if err != nil {
		return usage{}, err
	}
	began := time.Now()
	if err := each(ctx, connections, n, do); err != nil {
		return usage{}, err
	}
	elapsed := time.Since(began)
	after, err := cpuTime(m.pid())
	return usage{cpu: (after - before) / time.Duration(n), perSecond: float64(n) / elapsed.Seconds()}, err
}

// each calls do with 0 to n-1. After an error it starts no further calls.
func each(ctx context.Context, workers, n int, do work) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if errs[w] = do(ctx, i); errs[w] != nil {
					next.Store(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// asking returns work that sends a GET with the credentials of one session after the other. A status other than 200 is an error.
func asking(client *http.Client, m *member, sessions []credentials) work {
	return func(ctx context.Context, i int) error {
		status, err := ask(ctx, client, m.url, sessions[i%len(sessions)])
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("GET: status %d", status)
		}
		return err
	}
}
