package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// heldAccount is an account that is kept valid while it is in use.
type heldAccount struct {
	client *Client
	path   string

	mu      sync.Mutex
	issued  *issued // nil before the first, and after its end
	number  int     // of accounts so far
	err     error   // why the latest request failed
	expired bool    // the last account ended
	tried   chan struct{}
	changed chan struct{}
	checked time.Time // when a rejection was last followed up

	// doubted asks run to renew the account now.
	doubted chan struct{}
}

func newHeldAccount(c *Client, path string) *heldAccount {
	return &heldAccount{client: c, path: path, tried: make(chan struct{}), changed: make(chan struct{}), doubted: make(chan struct{}, 1)}
}

// run asks for an account, renews it, and replaces it, until ctx ends. Then it revokes the account.
func (h *heldAccount) run(ctx context.Context) {
	failed := backoff{pace: h.client.pace}
	first := sync.OnceFunc(func() { close(h.tried) })
	var held *issued
	for ctx.Err() == nil {
		next, err := h.obtain(ctx)
		if ctx.Err() != nil {
			if next != nil {
				h.revoke(next)
			}
			break
		}
		h.take(next, err)
		first()
		if err != nil {
			held = h.waitOn(ctx, held, failed.wait())
			continue
		}
		failed.reset()
		if held != nil {
			h.retire(ctx, held)
		}
		held = h.keep(ctx, next)
	}
	if held != nil {
		h.revoke(held)
	}
}

// waitOn waits before the next request for an account, and notices the end of the present one. It returns what is left of it.
func (h *heldAccount) waitOn(ctx context.Context, held *issued, d time.Duration) *issued {
	if held != nil {
		d = min(d, max(0, held.expires(h.client.cfg).Sub(h.client.cfg.Now())))
	}
	sleep(ctx, d)
	if held != nil && h.ended(held) {
		h.drop()
		return nil
	}
	return held
}

// keep renews an account until another one is needed. It returns the latest state of the account; nil if it ended.
func (h *heldAccount) keep(ctx context.Context, i *issued) *issued {
	failed := backoff{pace: h.client.pace}
	wait := h.due(i)
	for ctx.Err() == nil {
		if h.pause(ctx, i, wait); ctx.Err() != nil {
			return i
		}
		if h.ended(i) {
			h.drop()
			return nil
		}
		if i.id == "" || !i.term.renewable || h.orphaned(i) {
			return i
		}
		next, possible, err := h.renew(ctx, i)
		if !possible {
			return i
		}
		if err != nil {
			h.take(nil, err)
			wait = min(failed.wait(), max(0, i.term.left(h.client.cfg.Now())))
			continue
		}
		failed.reset()
		i = next
		h.renewed(i)
		if i.spent() {
			return i
		}
		wait = h.due(i)
	}
	return i
}

// due returns the time until an account should be renewed or read again.
func (h *heldAccount) due(i *issued) time.Duration {
	if i.id == "" {
		return within(h.client.cfg.PollInterval)
	}
	return i.term.due(h.client.cfg.Now(), h.client.pace.first)
}

// pause waits, but not longer than until the account is doubted, or the token that made it is replaced.
func (h *heldAccount) pause(ctx context.Context, i *issued, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		settled := h.client.session.settling()
		if h.orphaned(i) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-h.doubted:
			return
		case <-settled:
		}
	}
}

// rejected asks for a renewal if user is that of the present account, and not more often than tokens are checked.
func (h *heldAccount) rejected(user string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.client.cfg.Now()
	if h.issued == nil || h.issued.user != user || now.Sub(h.checked) < h.client.pace.doubt {
		return
	}
	h.checked = now
	select {
	case h.doubted <- struct{}{}:
	default: // already asked
	}
}

// orphaned reports whether the client has another token now. Vault revokes the account when the token that made it ends.
func (h *heldAccount) orphaned(i *issued) bool {
	h.client.session.mu.Lock()
	defer h.client.session.mu.Unlock()
	now := h.client.session.lease
	return i.id != "" && now != nil && now.client != i.term.client
}

func (h *heldAccount) ended(i *issued) bool {
	return !h.client.cfg.Now().Before(i.expires(h.client.cfg))
}

// retire revokes an account that another one has replaced, after the time that connections in use need to end.
func (h *heldAccount) retire(ctx context.Context, old *issued) {
	if old.id == "" {
		return
	}
	h.client.work.Go(func() {
		sleep(ctx, h.client.pace.drain)
		h.revoke(old)
	})
}

// take stores the outcome of a request. After a failure the last account stays in use.
func (h *heldAccount) take(next *issued, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	if err != nil {
		return
	}
	previous := h.issued
	h.issued, h.expired = next, false
	if previous != nil && previous.user == next.user && previous.password.Equal(next.password) {
		return
	}
	h.number++
	close(h.changed)
	h.changed = make(chan struct{})
	h.client.cfg.Logger.Info("account issued by Vault", "path", h.path, "user", next.user, "lease", next.term.ttl, "number", h.number)
}

// renewed stores an account whose lease was renewed.
func (h *heldAccount) renewed(i *issued) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.issued, h.err = i, nil
}

// drop forgets an account that ended.
func (h *heldAccount) drop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.issued, h.expired = nil, true
	h.client.cfg.Logger.Warn("account of Vault expired", "path", h.path, "error", h.err)
}

// current returns the present account. It waits for the first request to end.
func (h *heldAccount) current(ctx context.Context) (*issued, error) {
	select {
	case <-h.tried:
	case <-ctx.Done():
		return nil, fmt.Errorf("reading account %s: %w", h.path, ctx.Err())
	case <-h.client.ctx.Done():
		return nil, fmt.Errorf("reading account %s: the client is closed", h.path)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.issued != nil && !h.ended(h.issued):
		return h.issued, nil
	case h.issued != nil || h.expired:
		return nil, fmt.Errorf("reading account %s: %w", h.path, errors.Join(ErrExpired, h.err))
	}
	return nil, fmt.Errorf("reading account %s: %w", h.path, h.err)
}

func (h *heldAccount) changes() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

// status returns the state of the account, as that of a secret whose version is the number of accounts so far.
func (h *heldAccount) status() SecretStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	st := SecretStatus{Path: h.path}
	if h.err != nil {
		st.Err = h.err.Error()
	}
	if h.issued == nil {
		return st
	}
	now := h.client.cfg.Now()
	st.Current, st.Age, st.Expires = h.number, now.Sub(h.issued.term.at), h.issued.expires(h.client.cfg)
	st.Ready = now.Before(st.Expires)
	return st
}
