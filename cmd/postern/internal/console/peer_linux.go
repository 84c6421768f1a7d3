package console

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// peerUser returns the id of the user whose process opened the other end of a connection of this machine. It is an error if the kernel does
// not say it.
func peerUser(local, remote netip.AddrPort) (uid int, err error) {
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		file, err := os.Open(name)
		if err != nil {
			continue // without IPv6 there is no tcp6
		}
		uid, ok, err := socketUser(file, remote, local)
		file.Close()
		if ok || err != nil {
			return uid, err
		}
	}
	return 0, fmt.Errorf("no socket %s in /proc/net/tcp", remote)
}

// socketUser finds the socket with these addresses in the format of /proc/net/tcp (proc_net_tcp.txt of the kernel).
func socketUser(r io.Reader, local, remote netip.AddrPort) (uid int, ok bool, err error) {
	wantLocal, wantRemote := kernelAddresses(local), kernelAddresses(remote)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			continue
		}
		for i := range wantLocal {
			if f[1] == wantLocal[i] && f[2] == wantRemote[i] {
				uid, err := strconv.Atoi(f[7])
				return uid, err == nil, err
			}
		}
	}
	return 0, false, lines.Err()
}

// kernelAddresses returns an IPv4 address as /proc/net/tcp writes it, and as /proc/net/tcp6 does: words in the order of the machine, which
// is little-endian on all platforms that Postern is built for.
func kernelAddresses(a netip.AddrPort) [2]string {
	b := a.Addr().Unmap().As4()
	v4 := fmt.Sprintf("%02X%02X%02X%02X:%04X", b[3], b[2], b[1], b[0], a.Port())
	return [2]string{v4, "0000000000000000FFFF0000" + v4}
}

// mayConnect reports whether a user may use the console: the one who started it, also by sudo, and root, who can do everything anyway.
func mayConnect(uid int) bool {
	own := os.Getuid()
	if uid == own || uid == 0 {
		return true
	}
	sudo, err := strconv.Atoi(os.Getenv("SUDO_UID"))
	return own == 0 && err == nil && uid == sudo
}
