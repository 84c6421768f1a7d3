//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// load is a constant rate of requests over connections that are kept alive.
type load struct {
	t      *testing.T
	client func() *http.Client
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu       sync.Mutex
	sent     int
	failures []string
}

// loadWorkers is the number of clients that share the load. Each has its own connections.
const loadWorkers = 10

// startLoad sends perSecond GETs to url until it is stopped. A status other than 200 is a failure, and so is a missing response.
func startLoad(t *testing.T, perSecond int, url string, header http.Header) *load {
	t.Helper()
	l := &load{t: t, client: func() *http.Client { return newHTTPClient(true) }}
	l.start(perSecond, url, header)
	return l
}

func (l *load) start(perSecond int, url string, header http.Header) {
	ctx, cancel := context.WithCancel(l.t.Context())
	l.cancel = cancel
	for range loadWorkers {
		l.done.Go(func() { l.work(ctx, time.Second*loadWorkers/time.Duration(perSecond), url, header) })
	}
	l.t.Cleanup(func() { cancel(); l.done.Wait() })
}

func (l *load) work(ctx context.Context, pause time.Duration, url string, header http.Header) {
	client := l.client()
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// A request that has started is completed: stopping the load must not count as a failure.
		l.note(once(context.WithoutCancel(ctx), client, url, header))
	}
}

func once(ctx context.Context, client *http.Client, url string, header http.Header) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header = header.Clone()
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.200q", response.StatusCode, body)
	}
	return err
}

func (l *load) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if err != nil {
		l.failures = append(l.failures, fmt.Sprintf("%s: %v", time.Now().Format("15:04:05.000"), err))
	}
}

// count returns the number of requests so far.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// wait waits for n more requests.
func (l *load) wait(n int) {
	l.t.Helper()
	from := l.count()
	eventually(l.t, "waiting for requests to pass", func() error {
		if have := l.count() - from; have < n {
			return fmt.Errorf("%d of %d", have, n)
		}
		return nil
	})
}

// stop stops the load, fails the test if a request failed, and returns the number of requests.
func (l *load) stop() int {
	l.t.Helper()
	l.cancel()
	l.done.Wait()
	for _, f := range l.failures[:min(len(l.failures), 10)] {
		l.t.Errorf("a request failed at %s", f)
	}
	if n := len(l.failures); n > 0 {
		l.t.Errorf("%d of %d requests failed", n, l.sent)
	}
	return l.sent
}
