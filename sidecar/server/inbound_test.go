package server

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/posterndev/postern/sidecar/conn/sockets"
)

// TestListenersOfMeshAreNotReported: under Takeover the proxy of the pod's mesh may be reached, and the app may not.
func TestListenersOfMeshAreNotReported(t *testing.T) {
	listening := []netip.AddrPort{
		netip.MustParseAddrPort("0.0.0.0:15006"), netip.MustParseAddrPort("0.0.0.0:15021"),
		netip.MustParseAddrPort("0.0.0.0:8080"), netip.MustParseAddrPort("127.0.0.1:15000"),
	}
	for name, tc := range map[string]struct {
		mesh []uint16
		want []netip.AddrPort
	}{
		"in a mesh": {[]uint16{15000, 15006, 15021}, listening[2:3]},
		"no mesh":   {nil, []netip.AddrPort{listening[2], listening[0], listening[1]}},
	} {
		t.Run(name, func(t *testing.T) {
			env := Environment{Interception: Takeover, PodIPs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, ExcludedPorts: tc.mesh}
			pod, ok := env.inbound().exposure(listening, nil)
			if got := sockets.Reachable(pod, listening); !ok || !slices.Equal(got, tc.want) {
				t.Errorf("reachable are %v, want %v", got, tc.want)
			}
		})
	}
}
