//go:build !linux

package console

import "net/netip"

// peerUser is not known on this platform: the secrets alone protect the console from other users of the machine.
func peerUser(_, _ netip.AddrPort) (uid int, err error) { return 0, nil }

func mayConnect(int) bool { return true }
