package server

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/posterndev/postern/sidecar/conn/sockets"
)

// socketsInterval is the pause between two checks of the pod's listening sockets.
const socketsInterval = 5 * time.Second

// procNet is the directory in which the kernel lists the sockets of the pod's network.
const procNet = "/proc/net"

// watchSockets reports listeners of the pod that clients can reach without the sidecar.
func (s *sidecar) watchSockets(ctx context.Context, r reports) {
	if _, ok := s.cfg.Inbound.exposure(nil, nil); !ok {
		return
	}
	ticker := time.NewTicker(socketsInterval)
	defer ticker.Stop()
	for {
		s.reportSockets(ctx, r)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *sidecar) reportSockets(ctx context.Context, r reports) {
	listening, err := sockets.Listening(procNet)
	if err != nil {
		s.cfg.Logger.ErrorContext(ctx, "reading the pod's listening sockets", "error", err)
		return
	}
	pod, _ := s.cfg.Inbound.exposure(listening, s.enforcer.current().Snapshot)
	pod.Own = s.ownAddresses()
	var found []string
	for _, addr := range sockets.Reachable(pod, listening) {
		found = append(found, addr.String())
	}
	s.setReachable(r, found)
	if pod.Mode == sockets.Redirect {
		s.reportRules(ctx, r, sockets.RulesExist(ctx, listening))
	}
}

// setReachable reports the addresses at which clients reach the app without the sidecar.
func (s *sidecar) setReachable(r reports, found []string) {
	r.SetReachable(found)
	s.exposure.reachable.Set(float64(len(found)))
}

// reportRules reports whether the rules of Redirect exist, and logs when that changes.
func (s *sidecar) reportRules(ctx context.Context, r reports, exist bool) {
	if ctx.Err() != nil {
		return
	}
	r.SetUnredirected(!exist)
	s.exposure.unredirected.Set(map[bool]float64{false: 1}[exist])
	switch {
	case !exist && !s.unredirected:
		s.cfg.Logger.ErrorContext(ctx, "the rules that redirect the pod's traffic are missing, so clients reach the app around the sidecar: recreate the pod")
	case exist && s.unredirected:
		s.cfg.Logger.InfoContext(ctx, "the rules that redirect the pod's traffic exist again")
	}
	s.unredirected = !exist
}

// ownAddresses returns the sidecar's own listeners that are reachable from outside.
func (s *sidecar) ownAddresses() []netip.AddrPort {
	own := s.set.Addrs()
	_, text, _ := strings.Cut(s.cfg.Admin, ":")
	if port, err := strconv.ParseUint(text, 10, 16); err == nil {
		own = append(own, netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port)), netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)))
	}
	return own
}
