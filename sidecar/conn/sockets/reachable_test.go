package sockets

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func addrs(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

func TestReachable(t *testing.T) {
	own := addrs("10.0.0.1:8080", "[fd00::1]:8080", "0.0.0.0:15991", "[::]:15991", "0.0.0.0:15990")
	tests := map[string]struct {
		pod       Pod
		listeners []string
		want      []string
	}{
		"takeover, app on loopback":    {Pod{Own: own}, []string{"127.0.0.1:8080", "[::1]:8080", "127.8.8.8:1", "[::ffff:127.0.0.1]:2"}, nil},
		"takeover, own":                {Pod{Own: own}, []string{"10.0.0.1:8080", "[fd00::1]:8080", "0.0.0.0:15991", "[::]:15991"}, nil},
		"takeover, mapped own":         {Pod{Own: own}, []string{"[::ffff:10.0.0.1]:8080"}, nil},
		"takeover, app on wildcard":    {Pod{Own: own}, []string{"0.0.0.0:9090", "[::]:9091"}, []string{"0.0.0.0:9090", "[::]:9091"}},
		"takeover, the other family":   {Pod{Own: own}, []string{"[::]:8080"}, []string{"[::]:8080"}},
		"takeover, another pod IP":     {Pod{Own: own}, []string{"10.0.0.2:8080", "[fe80::1]:8080"}, []string{"10.0.0.2:8080", "[fe80::1]:8080"}},
		"takeover, accepted":           {Pod{Own: own, Accepted: []uint16{9090}}, []string{"0.0.0.0:9090", "0.0.0.0:9091"}, []string{"0.0.0.0:9091"}},
		"takeover ignores excluded":    {Pod{Own: own, Excluded: []uint16{9090}}, []string{"0.0.0.0:9090"}, []string{"0.0.0.0:9090"}},
		"takeover, own port not bound": {Pod{}, []string{"10.0.0.1:8080"}, []string{"10.0.0.1:8080"}},
		"redirect":                     {Pod{Mode: Redirect, Own: own}, []string{"0.0.0.0:8080", "[::]:9090", "10.0.0.1:1"}, nil},
		"redirect, excluded":           {Pod{Mode: Redirect, Own: own, Excluded: []uint16{22}}, []string{"0.0.0.0:22", "127.0.0.1:22", "[::]:23"}, []string{"0.0.0.0:22"}},
		"redirect, excluded, accepted": {Pod{Mode: Redirect, Excluded: []uint16{22}, Accepted: []uint16{22}}, []string{"0.0.0.0:22"}, nil},
		"sorted, once each":            {Pod{}, []string{"[::]:1", "10.0.0.2:2", "10.0.0.2:1", "10.0.0.2:2"}, []string{"10.0.0.2:1", "10.0.0.2:2", "[::]:1"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Reachable(tt.pod, addrs(tt.listeners...)); !slices.Equal(got, addrs(tt.want...)) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestReachableIsBounded(t *testing.T) {
	var many []netip.AddrPort
	for port := range 100 {
		many = append(many, netip.MustParseAddrPort(fmt.Sprintf("10.0.0.1:%d", 1000-port)))
	}
	got := Reachable(Pod{}, many)
	if len(got) != MaxReported || got[0] != netip.MustParseAddrPort("10.0.0.1:901") {
		t.Errorf("%d addresses from %v", len(got), got[0])
	}
}
