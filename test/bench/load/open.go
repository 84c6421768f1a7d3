package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Rate is a fixed rate of requests for a time.
type Rate struct {
	PerSecond float64
	Time      time.Duration
}

// Open sends requests at a rate over so many HTTP/1.1 connections and returns their latencies. A latency is counted from the time at which
// a request should have been sent: if responses are late and no connection is free, the requests that wait are late, too (there is no
// coordinated omission). The first tenth of the time is a warm-up.
func Open(ctx context.Context, t Target, inProgress int, requests Requests, rate Rate) ([]time.Duration, error) {
	o := &opened{idle: make(chan *timed, inProgress), began: time.Now(), warm: rate.Time / 10}
	for range inProgress {
		conn, err := t.dial(ctx)
		if err != nil {
			o.close()
			return nil, err
		}
		o.all = append(o.all, &timed{connection: connection{conn, make([]byte, bufferSize)}})
	}
	defer context.AfterFunc(ctx, o.close)()
	for _, c := range o.all {
		o.readers.Go(func() { o.receive(c) })
		o.idle <- c
	}
	err := errors.Join(o.send(ctx, requests, rate), o.finish())
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, c := range o.all {
		err = errors.Join(err, c.err)
		o.latencies = append(o.latencies, c.latencies...)
	}
	return o.latencies, err
}

// opened is an open-loop run.
type opened struct {
	all       []*timed
	idle      chan *timed
	readers   sync.WaitGroup
	began     time.Time
	warm      time.Duration
	over      atomic.Bool
	failed    atomic.Bool
	latencies []time.Duration
}

// timed is a connection with at most one request in progress.
type timed struct {
	connection
	// due is the time at which the request in progress should have been sent, since the start.
	due       atomic.Int64
	latencies []time.Duration
	err       error
}

// send sends each request when it is due. It has a thread of its own that sleeps in the kernel: Go's timers may be a millisecond late.
func (o *opened) send(ctx context.Context, requests Requests, rate Rate) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	interval := time.Duration(float64(time.Second) / rate.PerSecond)
	for i := range int(rate.Time / interval) {
		due := time.Duration(i) * interval
		if wait := due - time.Since(o.began); wait > 0 {
			rest := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&rest, nil) // a signal ends it early, which is an early request
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-o.idle:
			if o.failed.Load() {
				return nil // the reader has the error
			}
			c.due.Store(int64(due))
			if _, err := c.Write(requests[i%len(requests)]); err != nil {
				return fmt.Errorf("sending a request: %w", err)
			}
		}
	}
	return nil
}

// receive reads the responses of one connection.
func (o *opened) receive(c *timed) {
	for {
		err := c.receive()
		if err != nil {
			if !o.over.Load() {
				c.err = err
				o.failed.Store(true)
			}
			o.idle <- c
			return
		}
		if due := time.Duration(c.due.Load()); due > o.warm {
			c.latencies = append(c.latencies, time.Since(o.began)-due)
		}
		o.idle <- c
	}
}

// finish waits for the responses in progress, and closes the connections.
func (o *opened) finish() error {
	defer o.readers.Wait()
	defer o.close()
	defer o.over.Store(true)
	deadline := time.After(5 * time.Second)
	for i := range o.all {
		select {
		case <-o.idle:
		case <-deadline:
			return fmt.Errorf("%d requests got no response", len(o.all)-i)
		}
	}
	return nil
}

func (o *opened) close() {
	for _, c := range o.all {
		_ = c.Close()
	}
}
