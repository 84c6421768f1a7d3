package sockets

import (
	"net/netip"
	"slices"
)

// Mode is how the pod's traffic is intercepted.
type Mode uint8

const (
	// Takeover guards only the addresses that the sidecar has bound.
	Takeover Mode = iota
	// Redirect guards every port except the excluded ones.
	Redirect
)

// Pod describes a pod apart from its sockets.
type Pod struct {
	Mode Mode
	// Own are the addresses that the sidecar has bound, its admin port's among them. A socket is the sidecar's own by its address:
	// no two sockets listen on one without SO_REUSEPORT, which the sidecar never sets.
	Own []netip.AddrPort
	// Excluded are the ports that are not redirected. They have no meaning under Takeover.
	Excluded []uint16
	// Accepted are ports that may be reached, by the policy or because a mesh's proxy listens there; they are not reported.
	Accepted []uint16
}

// MaxReported bounds what Reachable returns; a status names no more.
const MaxReported = 20

// Reachable returns the listeners that another pod can connect to without the sidecar, sorted, at most MaxReported. A
// NetworkPolicy may block such a port; Reachable cannot detect that.
func Reachable(pod Pod, listeners []netip.AddrPort) []netip.AddrPort {
	var found []netip.AddrPort
	for _, l := range listeners {
		l = netip.AddrPortFrom(l.Addr().Unmap(), l.Port())
		switch {
		case l.Addr().IsLoopback(), slices.Contains(pod.Own, l), slices.Contains(pod.Accepted, l.Port()):
		case pod.Mode == Redirect && !slices.Contains(pod.Excluded, l.Port()):
		default:
			found = append(found, l)
		}
	}
	slices.SortFunc(found, netip.AddrPort.Compare)
	found = slices.Compact(found)
	return slices.Clip(found[:min(len(found), MaxReported)])
}
