package htpasswd

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// maxPerClient is the maximum number of hashes of one client in progress. It is half of what a hasher of one core lets wait, so that a
// client that tries many passwords leaves room for the others. Few costly hashes can take as long: all but the first one take only spare
// time of the hasher.
const maxPerClient = 8

// flights are the hashes in progress. It is safe for concurrent use.
type flights struct {
	mu      sync.Mutex
	byID    map[sum]*flight
	clients map[netip.Prefix]int
}

type flight struct {
	done  chan struct{} // closed after match and err are set
	match bool
	err   error
	first bool // the client had no other in progress
}

func newFlights() flights {
	return flights{byID: map[sum]*flight{}, clients: map[netip.Prefix]int{}}
}

// do returns the result of compute, or that of an equal attempt in progress. If that one fails, because its client disconnected, do
// computes itself. compute is told whether its client has no other in progress. do fails with password.ErrBusy if the client has too many
// hashes in progress, or if ctx ends before the result.
func (f *flights) do(ctx context.Context, id sum, client netip.Prefix, compute func(first bool) (bool, error)) (bool, error) {
	for {
		other, own, err := f.join(id, client)
		switch {
		case err != nil:
			return false, err
		case own != nil:
			defer f.leave(id, client, own)
			own.match, own.err = compute(own.first)
			return own.match, own.err
		}
		select {
		case <-other.done:
			if other.err == nil {
				return other.match, nil
			}
		case <-ctx.Done():
			return false, fmt.Errorf("%w: %w", password.ErrBusy, ctx.Err())
		}
	}
}

// join returns the flight of an equal attempt, or else a new one.
func (f *flights) join(id sum, client netip.Prefix) (other, own *flight, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other := f.byID[id]; other != nil {
		return other, nil, nil
	}
	if f.clients[client] == maxPerClient {
		return nil, nil, password.ErrBusy
	}
	own = &flight{done: make(chan struct{}), first: f.clients[client] == 0, err: password.ErrBusy} // the error if compute panics
	f.byID[id] = own
	f.clients[client]++
	return nil, own, nil
}

func (f *flights) leave(id sum, client netip.Prefix, own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byID, id)
	if f.clients[client]--; f.clients[client] == 0 {
		delete(f.clients, client)
	}
	close(own.done)
}
