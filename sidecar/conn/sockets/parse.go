// Package sockets finds the pod's listening TCP sockets that can be reached without the sidecar. It reads /proc, which shows the
// sockets of the whole network namespace, of every container.
package sockets

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
)

const (
	// listening is TCP_LISTEN (include/net/tcp_states.h), as /proc prints it.
	listening = "0A"
	// maxLine bounds a line in bytes; the kernel pads them to 150.
	maxLine = 1 << 10
	// maxListeners bounds what is kept: there are not more ports than that.
	maxListeners = 1 << 16
)

// Listening returns the addresses of the listening TCP sockets in procNet, which is "/proc/net" except in tests. A node without
// IPv6 has no tcp6.
func Listening(procNet string) ([]netip.AddrPort, error) {
	listeners, err := readFile(filepath.Join(procNet, "tcp"))
	if err != nil {
		return nil, err
	}
	six, err := readFile(filepath.Join(procNet, "tcp6"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return append(listeners, six...), nil
}

func readFile(name string) ([]netip.AddrPort, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading sockets: %w", err)
	}
	defer file.Close()
	listeners, err := Parse(file)
	if err != nil {
		return nil, fmt.Errorf("reading sockets of %s: %w", name, err)
	}
	return listeners, nil
}

// Parse reads the format of /proc/net/tcp and tcp6 (proc_pid_net(5)) and returns the listening sockets' addresses. A line that it
// does not understand is an error: an unseen listener would look like none.
func Parse(r io.Reader) ([]netip.AddrPort, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	var listeners []netip.AddrPort
	for n := 0; lines.Scan(); n++ {
		if n == 0 {
			continue // the heading
		}
		addr, ok, err := parseLine(lines.Bytes())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n+1, err)
		}
		if !ok {
			continue
		}
		if len(listeners) == maxListeners {
			return nil, fmt.Errorf("more than %d listening sockets", maxListeners)
		}
		listeners = append(listeners, addr)
	}
	return listeners, lines.Err()
}

// parseLine reads "  sl  local_address rem_address   st …". ok is false for a socket that does not listen.
func parseLine(line []byte) (addr netip.AddrPort, ok bool, err error) {
	var fields [4][]byte
	rest := line
	for i := range fields {
		rest = bytes.TrimLeft(rest, " ")
		end := bytes.IndexByte(rest, ' ')
		if end <= 0 {
			return netip.AddrPort{}, false, errors.New("fewer than four fields")
		}
		fields[i], rest = rest[:end], rest[end:]
	}
	if string(fields[3]) != listening {
		return netip.AddrPort{}, false, nil
	}
	addr, err = parseAddr(fields[1])
	return addr, err == nil, err
}

// parseAddr reads "0100007F:1F90": the address as words of 32 bits in the machine's byte order, the port as a number.
func parseAddr(field []byte) (netip.AddrPort, error) {
	host, port, ok := bytes.Cut(field, []byte(":"))
	if !ok || len(port) != 4 {
		return netip.AddrPort{}, errors.New("an address without a port of four digits")
	}
	number, err := strconv.ParseUint(string(port), 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading a port: %w", err)
	}
	var raw [16]byte
	if len(host) != 8 && len(host) != 32 {
		return netip.AddrPort{}, fmt.Errorf("an address of %d digits", len(host))
	}
	n, err := hex.Decode(raw[:], host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("reading an address: %w", err)
	}
	for word := raw[:n]; len(word) > 0; word = word[4:] {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	ip := netip.AddrFrom16(raw)
	if n == 4 {
		ip = netip.AddrFrom4([4]byte(raw[:4]))
	}
	return netip.AddrPortFrom(ip.Unmap(), uint16(number)), nil
}
