package sockets

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// RulesPort is a port of the loopback interface where nothing listens. The rules of Redirect send connections to it to the admin port,
// so a connection succeeds only while the rules exist. Reading the rules would need NET_ADMIN, which the sidecar does not have.
const RulesPort uint16 = 15993

// rulesTimeout bounds one connection to RulesPort, which succeeds or fails at once.
const rulesTimeout = time.Second

// RulesExist reports whether the rules of Redirect exist in the pod's network: the table is there as a whole or not at all, because
// it is created and deleted as one. It is false as well if a container listens on RulesPort, because then the result means nothing.
func RulesExist(ctx context.Context, listening []netip.AddrPort) bool {
	if slices.ContainsFunc(listening, func(a netip.AddrPort) bool { return a.Port() == RulesPort }) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, rulesTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(RulesPort))))
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
