package trail

import (
	"net/netip"
	"sync"

	"github.com/posterndev/postern/sidecar/httpkit/clientnet"
)

// The last quarter of a spool is shared: each client has a sixteenth of it, so that one client with a valid credential cannot fill the spool,
// which would refuse everybody's requests. An IPv6 /64 is one client. What has no client's address, such as an event of the app, has no share.
const (
	// scarceAbove is the part of the spool above which there are shares, in quarters.
	scarceAbove = 3
	// shareOf is the part of the whole spool that a client may still use then.
	shareOf = 4 * 16
	// maxShares bounds the clients that are told apart. All others have one share together.
	maxShares = 1024
)

// shares counts what clients have used of the last quarter. It is safe for concurrent use.
type shares struct {
	mu   sync.Mutex
	used map[netip.Prefix]int64
}

// of returns the key of a client. The caller holds the lock.
func (s *shares) of(addr netip.Addr) netip.Prefix {
	client := clientnet.Of(addr)
	if _, known := s.used[client]; !known && len(s.used) >= maxShares {
		return netip.Prefix{}
	}
	return client
}

// use adds to what a client has used.
func (s *shares) use(addr netip.Addr, size int64) {
	if !addr.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used == nil {
		s.used = map[netip.Prefix]int64{}
	}
	s.used[s.of(addr)] += size
}

// exceed reports whether a client has used up its share of a spool of limit bytes.
func (s *shares) exceed(addr netip.Addr, limit int64) bool {
	if !addr.IsValid() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used[s.of(addr)] >= limit/shareOf
}

// end forgets what was used: the spool has room again.
func (s *shares) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.used)
}

// scarce reports whether only a quarter of the spool is left.
func (t *Trail) scarce() bool {
	used, limit := t.cfg.Spool.Usage()
	return used > limit/4*scarceAbove
}

// FullFor reports whether a client's events are being dropped or will be soon, as Full does, or the client has used up its share of the rest of the
// spool.
func (t *Trail) FullFor(addr netip.Addr) bool {
	if t.Full() {
		return true
	}
	if !t.scarce() {
		t.shares.end()
		return false
	}
	_, limit := t.cfg.Spool.Usage()
	return t.shares.exceed(addr, limit)
}
