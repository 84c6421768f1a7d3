package resources

import (
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

const (
	// proxyPause is how often one untrusted proxy is noted at most.
	proxyPause = time.Minute
	// proxyMemory is how long after its last request an untrusted proxy is reported.
	proxyMemory = time.Hour
)

// untrustedProxies remembers the last peer that sent the forwarding headers of a proxy and is not trusted. It is safe for concurrent
// use.
type untrustedProxies struct {
	last   atomic.Pointer[sighting]
	now    func() time.Time
	logger *slog.Logger
}

type sighting struct {
	peer netip.Addr
	at   time.Time
}

// see notes a request of peer. The first one in an hour is logged.
func (u *untrustedProxies) see(peer netip.Addr) {
	now, last := u.now(), u.last.Load()
	if last != nil && now.Sub(last.at) < proxyPause || !u.last.CompareAndSwap(last, &sighting{peer: peer, at: now}) {
		return
	}
	if last == nil || now.Sub(last.at) > proxyMemory {
		u.logger.Warn("forwarding headers of a peer that is not a trusted proxy are ignored", "peer", peer)
	}
}

// problem returns what is to be reported; ok is false if nothing is.
func (u *untrustedProxies) problem() (p compiled.Problem, ok bool) {
	last := u.last.Load()
	if last == nil || u.now().Sub(last.at) > proxyMemory {
		return p, false
	}
	return compiled.Problem{Kind: compiled.ProblemClientAddress, Reason: "UntrustedProxy", Message: fmt.Sprintf("%s sends X-Forwarded-* and is not in "+
		"trustedProxies, so the sidecar ignores them: the app sees the address of %s and the scheme http", last.peer, last.peer)}, true
}

// SeeUntrustedProxy notes that peer, which is not a trusted proxy, sent the forwarding headers of one.
func (r *Resources) SeeUntrustedProxy(peer netip.Addr) { r.untrusted.see(peer) }
