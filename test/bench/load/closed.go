package load

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Requests are rendered requests that are sent in turn.
type Requests [][]byte

// Until ends a run after a time, after a number of requests, or at whichever comes first. One of them must be set.
type Until struct {
	Time     time.Duration
	Requests int
}

// Session is a number of open connections. On each, the next request is sent after the response.
type Session struct{ runners []runner }

// runner sends requests from next until it returns nil, and counts the responses.
type runner interface {
	run(ctx context.Context, next func() []byte, done *atomic.Int64) error
	io.Closer
}

// NewSession opens connections, so that so many requests are in progress at a time. With several targets, each has its share.
func NewSession(ctx context.Context, inProgress int, targets ...Target) (*Session, error) {
	s := &Session{}
	if targets[0].HTTP2 {
		inProgress = max(inProgress/streams, 1)
	}
	for i := range inProgress {
		r, err := targets[i%len(targets)].runner(ctx)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.runners = append(s.runners, r)
	}
	return s, nil
}

func (t Target) runner(ctx context.Context) (runner, error) {
	if t.NewConnection {
		return connections{t}, nil
	}
	conn, err := t.dial(ctx)
	if err != nil {
		return nil, err
	}
	if !t.HTTP2 {
		return &connection{conn, make([]byte, bufferSize)}, nil
	}
	c, err := newHTTP2(conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the connections.
func (s *Session) Close() {
	for _, r := range s.runners {
		_ = r.Close()
	}
}

// Run sends requests over all connections and returns the number of responses. After ctx ends, the session is closed.
func (s *Session) Run(ctx context.Context, requests Requests, until Until) (int, error) {
	defer context.AfterFunc(ctx, s.Close)()
	var sent, done atomic.Int64
	var over atomic.Bool
	if until.Time > 0 {
		defer time.AfterFunc(until.Time, func() { over.Store(true) }).Stop()
	}
	next := func() []byte {
		n := int(sent.Add(1)) - 1
		if over.Load() || ctx.Err() != nil || until.Requests > 0 && n >= until.Requests {
			return nil
		}
		return requests[n%len(requests)]
	}
	var wg sync.WaitGroup
	errs := make([]error, len(s.runners))
	for i, r := range s.runners {
		wg.Go(func() {
			if errs[i] = r.run(ctx, next, &done); errs[i] != nil {
				over.Store(true)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	return int(done.Load()), first(errs)
}

// first returns the first error. The connections usually fail for the same reason.
func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
