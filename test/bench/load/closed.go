package load

import (
	"context"
	"errors"
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

// Closed sends requests over so many connections: on each, the next one after the response. It returns the number of responses. Each
// connection is opened before the first request is sent.
func Closed(ctx context.Context, t Target, connections int, requests Requests, until Until) (int, error) {
	s, err := NewSession(ctx, t, connections)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	return s.Run(ctx, requests, until)
}

// Session is a number of open connections.
type Session struct {
	connections []*connection
	stops       []func()
}

// NewSession opens connections.
func NewSession(ctx context.Context, t Target, connections int) (*Session, error) {
	s := &Session{}
	for range connections {
		c, stop, err := dial(ctx, t)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.connections, s.stops = append(s.connections, c), append(s.stops, stop)
	}
	return s, nil
}

// Close closes the connections.
func (s *Session) Close() {
	for _, stop := range s.stops {
		stop()
	}
}

// Run sends requests over all connections and returns the number of responses.
func (s *Session) Run(ctx context.Context, requests Requests, until Until) (int, error) {
	var next, done atomic.Int64
	var over atomic.Bool
	if until.Time > 0 {
		defer time.AfterFunc(until.Time, func() { over.Store(true) }).Stop()
	}
	var wg sync.WaitGroup
	errs := make([]error, len(s.connections))
	for i, c := range s.connections {
		wg.Go(func() {
			for !over.Load() && ctx.Err() == nil {
				n := int(next.Add(1)) - 1
				if until.Requests > 0 && n >= until.Requests {
					return
				}
				if errs[i] = c.do(requests[n%len(requests)]); errs[i] != nil {
					over.Store(true)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return int(done.Load()), errors.Join(append(errs, ctx.Err())...)
}
