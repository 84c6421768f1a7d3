package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// meshRules are one mesh's rules and how they are loaded.
type meshRules struct {
	file string
	load []string
	// port is where its proxy receives inbound connections, uid its user, and from the origin of its connections to the app.
	port, uid int
	from      from
	// kubelet is the source of the kubelet's probes; the zero Addr is the client's own address.
	kubelet netip.Addr
}

const client4 = "10.199.7.1"

func meshes() map[string]meshRules {
	istio := from{source: netip.MustParseAddr("127.0.0.6")}
	ztunnel, kubelet := from{source: netip.MustParseAddr(client4), mark: 0x539}, netip.MustParseAddr("169.254.7.127")
	return map[string]meshRules{
		"Istio, iptables-nft":      {"testdata/istio.iptables", []string{"iptables-nft-restore", "--noflush"}, 15006, 1337, istio, netip.Addr{}},
		"Istio, iptables-legacy":   {"testdata/istio.iptables", []string{"iptables-legacy-restore", "--noflush"}, 15006, 1337, istio, netip.Addr{}},
		"Istio, nftables":          {"testdata/istio.nft", []string{"nft", "-f", "-"}, 15006, 1337, istio, netip.Addr{}},
		"Linkerd, iptables-nft":    {"testdata/linkerd.iptables", []string{"iptables-nft-restore", "--noflush"}, 4143, 2102, from{}, netip.Addr{}},
		"Linkerd, iptables-legacy": {"testdata/linkerd.iptables", []string{"iptables-legacy-restore", "--noflush"}, 4143, 2102, from{}, netip.Addr{}},
		"Istio ambient, nft":       {"testdata/ambient.iptables", []string{"iptables-nft-restore", "--noflush"}, 15006, 0, ztunnel, kubelet},
		"Istio ambient, legacy":    {"testdata/ambient.iptables", []string{"iptables-legacy-restore", "--noflush"}, 15006, 0, ztunnel, kubelet},
	}
}

// program loads the rules into the pod's namespace.
func (m meshRules) program(t *testing.T, n network) {
	t.Helper()
	rules, err := os.Open(m.file)
	if err != nil {
		t.Fatal(err)
	}
	defer rules.Close()
	cmd := exec.Command("ip", append([]string{"netns", "exec", n.pod}, m.load...)...)
	cmd.Stdin = rules
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", m.load, err, out)
	}
	if m.from.mark != 0 { // ambient mode: responses of connections with ztunnel's mark stay in the pod
		ip(t, "-n", n.pod, "rule", "add", "fwmark", "0x111/0xfff", "pref", "32764", "lookup", "100")
		ip(t, "-n", n.pod, "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")
	}
	if m.kubelet.IsValid() {
		ip(t, "-n", n.client, "addr", "add", m.kubelet.String()+"/32", "dev", "eth0")
		ip(t, "-n", n.pod, "route", "add", m.kubelet.String(), "dev", "eth0")
	}
}

// serve runs the mesh's proxy in the pod: it connects to each connection's original destination as Envoy and linkerd2-proxy do, and
// writes "mesh, " before the response.
func (m meshRules) serve(t *testing.T, n network) {
	t.Helper()
	within(t, n.pod, func() error {
		l, err := net.Listen("tcp4", ":"+strconv.Itoa(m.port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				fmt.Fprint(conn, m.forward(n, conn.(*net.TCPConn)))
				conn.Close()
			}
		}()
		return nil
	})
}

func (m meshRules) forward(n network, conn *net.TCPConn) string {
	target, err := originalTarget(conn)
	if err != nil {
		return err.Error()
	}
	var response []byte
	err = enter(n.pod, func() error {
		if err := unix.Setfsuid(m.uid); err != nil { // of this thread: the rules compare the socket's owner
			return err
		}
		upstream, err := connectFrom(m.from, target)
		if err != nil {
			return err
		}
		defer upstream.Close()
		upstream.SetDeadline(time.Now().Add(waitLimit))
		response, err = io.ReadAll(upstream)
		return err
	})
	if err != nil {
		return "mesh: " + err.Error()
	}
	return "mesh, " + string(response)
}

// originalTarget returns the address that the client connected to.
func originalTarget(conn *net.TCPConn) (target *net.TCPAddr, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		var mreq *unix.IPv6Mreq // of the same size as a sockaddr_in
		if mreq, err = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, unix.SO_ORIGINAL_DST); err == nil {
			b := mreq.Multiaddr
			target = &net.TCPAddr{IP: net.IP(b[4:8]), Port: int(binary.BigEndian.Uint16(b[2:4]))}
		}
	})
	return target, errors.Join(controlErr, err)
}

// outcome is what a client in another pod reads at a port of the pod.
func outcome(t *testing.T, n network, from from, port int) string {
	t.Helper()
	var conn net.Conn
	err := enter(n.client, func() (err error) {
		conn, err = connectFrom(from, &net.TCPAddr{IP: net.ParseIP(pod4), Port: port})
		return err
	})
	switch {
	case errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ETIMEDOUT):
		return "timeout"
	case errors.Is(err, unix.ECONNREFUSED):
		return "connection refused"
	case err != nil:
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(waitLimit))
	response, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(response)
}

// TestRedirectBesideMesh shows why the webhook refuses Redirect in a mesh. Both redirect in the same hook at the same priority, and the
// rules that were added last come first.
func TestRedirectBesideMesh(t *testing.T) {
	for name, mesh := range meshes() {
		t.Run(name, func(t *testing.T) {
			t.Run("the mesh first: connections do not pass through the mesh", func(t *testing.T) {
				n := mesh.pod(t)
				mesh.program(t, n)
				within(t, n.pod, func() error { return Program(config()) })
				wantOutcome(t, n, appPort, "sidecar for "+pod4+":8080")
			})
			t.Run("Redirect first: it drops what it did not redirect", func(t *testing.T) {
				n := mesh.pod(t)
				within(t, n.pod, func() error { return Program(config()) })
				mesh.program(t, n)
				wantOutcome(t, n, appPort, "timeout")
			})
			t.Run("Redirect first, with the proxy's port excluded: the app is reached without the sidecar", func(t *testing.T) {
				n := mesh.pod(t)
				c := config()
				c.ExcludedPorts = append(c.ExcludedPorts, uint16(mesh.port))
				within(t, n.pod, func() error { return Program(c) })
				mesh.program(t, n)
				wantOutcome(t, n, appPort, "mesh, app")
			})
		})
	}
}

// pod returns a pod with a sidecar of Redirect, an app, and the mesh's proxy, without rules.
func (m meshRules) pod(t *testing.T) network {
	t.Helper()
	n := newNetwork(t)
	sidecar(t, n)
	serve(t, n, appPort, "app")
	m.serve(t, n)
	return n
}

func wantOutcome(t *testing.T, n network, port int, want string) {
	t.Helper()
	var from from
	if want == "timeout" {
		from.seconds = 1
	}
	if got := outcome(t, n, from, port); got != want {
		t.Errorf("the client gets %q, want %q", got, want)
	}
}

// TestTakeoverBesideMesh: connections pass through the mesh, then through the sidecar, which listens on the pod's address. The sidecar's
// own connections to the app are not redirected. The kubelet reaches the admin port, also before the mesh's proxy runs.
func TestTakeoverBesideMesh(t *testing.T) {
	for name, mesh := range meshes() {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t)
			mesh.program(t, n)
			serve(t, n, admin, "admin")
			if got := outcome(t, n, from{source: mesh.kubelet}, admin); got != "admin" {
				t.Errorf("the kubelet gets %q", got)
			}
			wantOutcome(t, n, appPort, "connection refused")

			mesh.serve(t, n)
			respond(t, n, "127.0.0.1:8080", func(net.Conn) string { return "app" })
			respond(t, n, pod4+":8080", func(conn net.Conn) string {
				response, err := asSidecar(n, "127.0.0.1:8080")
				return fmt.Sprintf("sidecar for %s, %s, %v", conn.RemoteAddr().(*net.TCPAddr).IP, response, err)
			})
			peer := pod4 // of the pod itself
			if mesh.from.source.IsValid() {
				peer = mesh.from.source.String()
			}
			wantOutcome(t, n, appPort, "mesh, sidecar for "+peer+", app, <nil>")
		})
	}
}

// asSidecar returns what the sidecar's user reads at address.
func asSidecar(n network, address string) (response string, err error) {
	err = enter(n.pod, func() error {
		if err := unix.Setfsuid(65532); err != nil {
			return err
		}
		conn, err := connect(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)))
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(waitLimit))
		read, err := io.ReadAll(conn)
		response = string(read)
		return err
	})
	return response, err
}

// respond listens on address in the pod and writes the response to each connection.
func respond(t *testing.T, n network, address string, response func(net.Conn) string) {
	t.Helper()
	within(t, n.pod, func() error {
		l, err := net.Listen("tcp4", address)
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				fmt.Fprint(conn, response(conn))
				conn.Close()
			}
		}()
		return nil
	})
}
