package listen

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"
)

const (
	// firstRetry and maxRetry bound the wait between two attempts to bind an address.
	firstRetry, maxRetry = 250 * time.Millisecond, 10 * time.Second
)

// Takeover makes the set listen on ports at each of podIPs, which are the app's own ports. Listeners that stay are
// not changed. Listeners that are removed leave their connections open. For addresses that cannot be bound, Takeover
// returns the joined *BindErrors and calls OnBind, and the Set retries until it succeeds or the address is no longer
// wanted.
func (s *Set) Takeover(podIPs []netip.Addr, ports []uint16) error {
	want := map[netip.AddrPort]bool{}
	for _, ip := range podIPs {
		for _, port := range ports {
			want[netip.AddrPortFrom(ip.Unmap(), port)] = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, cancel := range s.takes {
		if !want[addr] {
			cancel()
			s.dropLocked(addr)
		}
	}
	var failed []error
	for _, addr := range slices.SortedFunc(maps.Keys(want), netip.AddrPort.Compare) {
		if _, ok := s.takes[addr]; ok {
			continue
		}
		if err := s.takeLocked(addr); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

func (s *Set) dropLocked(addr netip.AddrPort) {
	delete(s.takes, addr)
	if a, ok := s.bound[addr]; ok {
		a.drop()
		delete(s.bound, addr)
	}
}

// takeLocked binds addr, or starts to retry.
func (s *Set) takeLocked(addr netip.AddrPort) error {
	err := s.bindLocked(addr)
	if err != nil && s.stopped {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.takes[addr] = cancel
	if err != nil {
		s.work.Go(func() { s.retry(ctx, addr) })
	}
	return err
}

// bindLocked listens on addr and reports the result.
func (s *Set) bindLocked(addr netip.AddrPort) error {
	_, err := s.listenLocked(addr, direct)
	var bind *BindError
	if errors.As(err, &bind) {
		bind.Advice = takeoverAdvice(addr, bind.Err)
	}
	if s.config.OnBind != nil {
		s.config.OnBind(addr, err)
	}
	return err
}

// retry tries to bind addr until it succeeds, or until ctx ends because the address is no longer wanted.
func (s *Set) retry(ctx context.Context, addr netip.AddrPort) {
	for pause := firstRetry; ; pause = min(pause*2, maxRetry) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if s.retryOnce(ctx, addr) {
			return
		}
	}
}

// retryOnce reports whether no more attempts are needed.
func (s *Set) retryOnce(ctx context.Context, addr netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ctx.Err() != nil || s.bindLocked(addr) == nil
}
