package jwks

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/posterndev/postern/api/check/keyset"
)

// pace has the intervals and time limits of a polled source.
type pace struct {
	// timeout is the time limit of one load.
	timeout time.Duration
	// minGap is the minimum time between two loads that requests cause.
	minGap time.Duration
	// wait is the maximum time that a request waits for a load.
	wait time.Duration
	// maxWaiters is the maximum number of requests that wait at one time. Others get ErrUnavailable immediately.
	maxWaiters int64
	// retry is the delay after the first failed load; it doubles up to maxRetry or the interval.
	retry, maxRetry time.Duration
	// absent is the time in which a kid that a fresh set did not have causes no further load.
	absent time.Duration
}

func defaultPace() pace {
	return pace{
		timeout: 5 * time.Second, minGap: 10 * time.Second, wait: 2 * time.Second, maxWaiters: 256,
		retry: time.Second, maxRetry: time.Minute, absent: time.Minute,
	}
}

// maxAbsent is the maximum number of absent kids in the cache.
const maxAbsent = 1024

// content is the result of one load.
type content struct {
	set *keyset.Set
	// body is the document of the set; nil for a secret.
	body []byte
	// at is when the origin last confirmed the set.
	at time.Time
}

// loader reads an origin. It returns the same set with a new time if nothing changed.
type loader interface {
	load(ctx context.Context, last *content) (*content, error)
}

// polled is a Source that reads its origin at intervals, and additionally for an unknown kid, with a rate limit. The last good
// set stays active for maxStale after the origin last confirmed it.
type polled struct {
	name               string
	loader             loader
	interval, maxStale time.Duration
	pace               pace
	now                func() time.Time
	log                *slog.Logger
	observe            func(result string)
	took               func(time.Duration)

	// life ends when the source is released. Loads use it, and not the context of the request that caused them.
	life   context.Context
	cancel context.CancelFunc

	current atomic.Pointer[content]
	waiting *waiting
	// absent maps an algorithm and a kid to the time at which a fresh set did not have them.
	absent *lru.Cache[string, time.Time]
	// first is closed when the first load has ended, with or without an error.
	first     chan struct{}
	firstOnce sync.Once

	mu      sync.Mutex
	running *attempt
	started time.Time // of the latest load
	err     error     // of the latest load that ended
}

// attempt is one load; done is closed when it has ended.
type attempt struct {
	done chan struct{}
	err  error
}

// Results of a load, as values of a metric's label.
const (
	resultOK          = "ok"
	resultNotModified = "not_modified"
	resultError       = "error"
)

// run loads the set immediately and then at the interval, until the source is released.
func (p *polled) run() {
	delay := p.pace.retry
	for {
		next := jitter(p.interval)
		attempt := p.start()
		<-attempt.done
		if attempt.err != nil {
			next = min(jitter(delay), p.interval)
			delay = min(2*delay, p.pace.maxRetry)
		} else {
			delay = p.pace.retry
		}
		timer := time.NewTimer(next)
		select {
		case <-p.life.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// jitter varies d by up to 10 %, so that replicas do not send requests at the same time.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// start starts a load, or returns the one that is running.
func (p *polled) start() *attempt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.startLocked()
}

func (p *polled) startLocked() *attempt {
	if p.running != nil {
		return p.running
	}
	a := &attempt{done: make(chan struct{})}
	p.running, p.started = a, p.now()
	go p.load(a)
	return a
}

// demand is like start, for a request. It returns no attempt, but the error of the latest load, if that was less than minGap ago.
func (p *polled) demand() (*attempt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since := p.now().Sub(p.started); p.running == nil && since >= 0 && since < p.pace.minGap {
		return nil, p.err
	}
	return p.startLocked(), nil
}

func (p *polled) load(a *attempt) {
	ctx, cancel := context.WithTimeout(p.life, p.pace.timeout)
	defer cancel()
	last := p.current.Load()
	began := p.now()
	next, err := p.loader.load(ctx, last)
	p.took(p.now().Sub(began))
	if err == nil {
		p.current.Store(next)
	}
	p.report(last, next, err)

	p.mu.Lock()
	p.running, p.err = nil, err
	p.mu.Unlock()
	a.err = err
	close(a.done)
	p.firstOnce.Do(func() { close(p.first) })
}

// report counts a load, and logs changes of state: the first failure of an outage, its end, a new set.
func (p *polled) report(last, next *content, err error) {
	p.mu.Lock()
	before := p.err
	p.mu.Unlock()
	switch {
	case errors.Is(err, context.Canceled): // released
	case err != nil:
		p.observe(resultError)
		if before == nil {
			p.log.Warn("loading key set failed", "provider", p.name, "lastGoodKept", last != nil, "error", err)
		}
	case last != nil && next.set == last.set:
		p.observe(resultNotModified)
	default:
		p.observe(resultOK)
		p.log.Info("loaded key set", "provider", p.name, "keys", next.set.Len(), "dropped", len(next.set.Dropped()))
		logDropped(p.log, p.name, last, next.set)
	}
	if err == nil && before != nil {
		p.log.Info("loading key set works again", "provider", p.name)
	}
}

// usable returns the active set. It returns nil if there is none, or if it was last confirmed too long ago.
func (p *polled) usable() *keyset.Set {
	c := p.current.Load()
	if c == nil || p.now().Sub(c.at) > p.maxStale {
		return nil
	}
	return c.set
}

// Holds returns false for every key while no set is active.
func (p *polled) Holds(key *Key) bool {
	set := p.usable()
	return set != nil && set.Holds(key)
}

// Lookup returns ErrUnknownKey only if the latest load succeeded and its set does not have the key. While the origin is
// unavailable, the token cannot be judged, and it returns ErrUnavailable. A known kid with another algorithm is an unknown key, too:
// an issuer may have added it.
func (p *polled) Lookup(ctx context.Context, kid, alg string) ([]*Key, error) {
	set := p.usable()
	if set == nil {
		if err := p.waiting.await(ctx, p.first); err != nil {
			return nil, err
		}
		if set = p.usable(); set == nil {
			return nil, unavailable(p.lastErr())
		}
	}
	keys, err := set.Lookup(kid, alg)
	if err == nil || errors.Is(err, ErrAmbiguous) || p.knownAbsent(kid, alg) {
		return keys, err
	}
	found, later := p.refetch(ctx, kid, alg)
	if errors.Is(err, ErrAlgorithm) && found == nil {
		return nil, err // the outage of an issuer does not make a key of another algorithm fit
	}
	return found, later
}

func (p *polled) refetch(ctx context.Context, kid, alg string) ([]*Key, error) {
	attempt, err := p.demand()
	if err != nil {
		return nil, unavailable(err)
	}
	if attempt == nil {
		return nil, ErrUnknownKey
	}
	if err := p.waiting.await(ctx, attempt.done); err != nil {
		return nil, err
	}
	if attempt.err != nil {
		return nil, unavailable(attempt.err)
	}
	set := p.usable()
	if set == nil {
		return nil, ErrUnavailable
	}
	keys, err := set.Lookup(kid, alg)
	if errors.Is(err, ErrUnknownKey) || errors.Is(err, ErrAlgorithm) {
		p.absent.Add(alg+" "+kid, p.now())
	}
	return keys, err
}

func (p *polled) knownAbsent(kid, alg string) bool {
	since, ok := p.absent.Get(alg + " " + kid)
	return ok && p.now().Sub(since) < p.pace.absent
}

func (p *polled) lastErr() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *polled) status(st *Status, now time.Time) {
	if err := p.lastErr(); err != nil {
		st.Err = err.Error()
	}
	if c := p.current.Load(); c != nil {
		st.Age = now.Sub(c.at)
	}
	if set := p.usable(); set != nil {
		st.Ready, st.Keys, st.Dropped = true, set.Len(), set.Dropped()
	}
}

func (p *polled) close() { p.cancel() }
