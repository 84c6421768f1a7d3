package clientnet

import (
	"net/netip"
	"testing"
)

func TestOf(t *testing.T) {
	for addr, want := range map[string]string{
		"203.0.113.9": "203.0.113.9/32", "::ffff:203.0.113.9": "203.0.113.9/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Of(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s is in %s; want %s", addr, got, want)
		}
	}
	if Of(netip.Addr{}).IsValid() {
		t.Error("no address has a network")
	}
}
