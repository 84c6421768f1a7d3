package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// warm is the number of responses that each asker must have before the revocation.
	warm = 5
	// linger is the time for which the askers continue after the last first refusal, to check that refusals are permanent.
	linger = 15 * time.Millisecond
)

// sample is one request with its response.
type sample struct {
	sent, got time.Time
	status    int
}

// asker sends requests with one token to one member, over one connection.
type asker struct {
	url, token    string
	client        *http.Client
	pause         time.Duration
	samples       []sample
	warm, refused chan struct{}
}

// run sends requests until ctx ends. It closes warm after the warm-up, and refused at the first 401. A status other than 200 and
// 401 is an error.
func (a *asker) run(ctx context.Context) error {
	for refused := false; ctx.Err() == nil; {
		s := sample{sent: time.Now()}
		var err error
		// A request that has started is completed, so that its end is not a failure of the member.
		s.status, err = ask(context.WithoutCancel(ctx), a.client, a.url, credentials{Access: a.token})
		s.got = time.Now()
		switch {
		case err != nil:
			return err
		case s.status == http.StatusUnauthorized && !refused:
			refused = true
			close(a.refused)
		case s.status != http.StatusOK && s.status != http.StatusUnauthorized:
			return fmt.Errorf("GET %s: status %d", a.url, s.status)
		}
		a.samples = append(a.samples, s)
		if len(a.samples) == warm {
			close(a.warm)
		}
		time.Sleep(a.pause)
	}
	return nil
}

// watch is a set of running askers, one for each member.
type watch struct {
	askers []*asker
	stop   context.CancelFunc
	wg     sync.WaitGroup
	failed chan error
}

func (b *bench) watch(ctx context.Context, client *http.Client, members []*member, token string) *watch {
	ctx, stop := context.WithCancel(ctx)
	w := &watch{stop: stop, failed: make(chan error, len(members))}
	for _, m := range members {
		a := &asker{
			url: m.url, token: token, client: client, pause: b.pause, warm: make(chan struct{}), refused: make(chan struct{}),
		}
		w.askers = append(w.askers, a)
		w.wg.Go(func() {
			if err := a.run(ctx); err != nil {
				w.failed <- err
			}
		})
	}
	return w
}

// await waits until every asker has closed a channel.
func (w *watch) await(ctx context.Context, what string, of func(*asker) <-chan struct{}) error {
	timeout := time.After(waitLimit)
	for _, a := range w.askers {
		select {
		case <-of(a):
		case err := <-w.failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout:
			return fmt.Errorf("%s is not yet %s after %s", a.url, what, waitLimit)
		}
	}
	return nil
}

// end stops the askers. Then their samples are complete.
func (w *watch) end() error {
	w.stop()
	w.wg.Wait()
	select {
	case err := <-w.failed:
		return err
	default:
		return nil
	}
}

// seen is the view of one asker of one revocation.
type seen struct {
	// fromCall and fromResponse are the times from the revoke call, and from its response, to the arrival of the first refusal.
	// fromResponse may be negative.
	fromCall, fromResponse time.Duration
	// late counts the requests with status 200 after the response to the revoke call. lateSent counts those of them that were
	// also sent after it. again counts the requests with status 200 after the first refusal.
	late, lateSent, again int
	refused               bool
}

func judge(samples []sample, called, answered time.Time) (s seen) {
	for _, x := range samples {
		switch {
		case x.status == http.StatusUnauthorized && !s.refused:
			s.refused = true
			s.fromCall, s.fromResponse = x.got.Sub(called), x.got.Sub(answered)
		case x.status == http.StatusOK && s.refused:
			s.again++
		}
		if x.status == http.StatusOK && x.got.After(answered) {
			s.late++
			if x.sent.After(answered) {
				s.lateSent++
			}
		}
	}
	return s
}
