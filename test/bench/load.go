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

// usage is what n pieces of work took.
type usage struct {
	// cpu is what the measured process spent on one of them, in its own code and in the kernel.
	cpu time.Duration
	// perSecond is how many were done in a second, by the clock on the wall.
	perSecond float64
}

// work does its piece of the number i.
type work = func(ctx context.Context, i int) error

// measure does n pieces, by as many workers as connections, and says what they took of the member's process.
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

// each calls do with 0 to n-1; after an error it begins no other call.
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

// asking is work: a GET with the token of one session after the other. Any answer but 200 is an error.
func asking(client *http.Client, m *member, sessions []credentials) work {
	return func(ctx context.Context, i int) error {
		status, err := ask(ctx, client, m.url, sessions[i%len(sessions)].Access)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("GET: status %d", status)
		}
		return err
	}
}
