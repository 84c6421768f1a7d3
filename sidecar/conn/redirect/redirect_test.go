package redirect

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/posterndev/postern/sidecar/conn/listen"
	"github.com/posterndev/postern/sidecar/conn/sockets"
)

const (
	inbound  = 15990
	admin    = 15991
	excluded = 2222
	appPort  = 8080
)

func config() Config {
	return Config{InboundPort: inbound, AdminPort: admin, ExcludedPorts: []uint16{excluded, excluded}}
}

// programs are the two forms of the rules.
func programs() map[string]func() error {
	return map[string]func() error{
		"inet": func() error { return Program(config()) },
		"ip and ip6, for old kernels": func() error {
			conn, err := nftables.New()
			if err != nil {
				return err
			}
			return config().program(conn, nftables.TableFamilyIPv4, nftables.TableFamilyIPv6)
		},
	}
}

// sidecar listens in the pod and sends each connection its original destination.
func sidecar(t *testing.T, n network) (refusals chan listen.Refusal) {
	t.Helper()
	refusals = make(chan listen.Refusal, 100)
	set, err := listen.New(listen.Config{
		Decide:   func(netip.AddrPort) listen.Decision { return listen.TCP },
		TCP:      func(c *listen.Conn) { io.WriteString(c, "sidecar for "+c.Local().String()) },
		OnRefuse: func(_ netip.AddrPort, why listen.Refusal) { refusals <- why },
	})
	if err != nil {
		t.Fatal(err)
	}
	within(t, n.pod, func() error { return set.Redirect(inbound) })
	t.Cleanup(set.Shutdown)
	return refusals
}

// serve listens on port in the pod and sends who on each connection.
func serve(t *testing.T, n network, port int, who string) {
	t.Helper()
	within(t, n.pod, func() error {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				io.WriteString(conn, who)
				conn.Close()
			}
		}()
		return nil
	})
}

// responseAt returns what a client in the namespace name reads at host:port.
func responseAt(t *testing.T, name, host string, port int) (string, error) {
	t.Helper()
	conn, err := dial(t, name, net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	response, err := io.ReadAll(conn)
	return string(response), err
}

func TestRedirect(t *testing.T) {
	for form, program := range programs() {
		t.Run(form, func(t *testing.T) {
			n := newNetwork(t)
			refusals := sidecar(t, n)
			serve(t, n, appPort, "app")
			serve(t, n, admin, "admin")
			serve(t, n, excluded, "excluded")
			for range 2 { // the second run replaces the first
				within(t, n.pod, program)
			}
			tests := map[string]struct {
				from, host string
				port       int
				want       string
			}{
				"the app's port":               {n.client, pod4, appPort, "sidecar for " + pod4 + ":8080"},
				"the app's port, IPv6":         {n.client, pod6, appPort, "sidecar for [" + pod6 + "]:8080"},
				"a port without listener":      {n.client, pod4, 1, "sidecar for " + pod4 + ":1"},
				"the highest port, IPv6":       {n.client, pod6, 65535, "sidecar for [" + pod6 + "]:65535"},
				"the admin port":               {n.client, pod4, admin, "admin"},
				"the admin port, IPv6":         {n.client, pod6, admin, "admin"},
				"an excluded port":             {n.client, pod4, excluded, "excluded"},
				"the rules' port by loopback":  {n.pod, "127.0.0.1", int(sockets.RulesPort), "admin"},
				"the rules' port from outside": {n.client, pod4, int(sockets.RulesPort), "sidecar for " + pod4 + ":15993"},
				"the app by loopback":          {n.pod, "127.0.0.1", appPort, "app"},
				"the app by loopback, IPv6":    {n.pod, "::1", appPort, "app"},
				"the app by the pod's own IP":  {n.pod, pod4, appPort, "app"},
				"the app by its own IP, IPv6":  {n.pod, pod6, appPort, "app"},
				"the inbound port itself":      {n.client, pod4, inbound, ""},
				"the inbound port, IPv6":       {n.client, pod6, inbound, ""},
				"the inbound port by loopback": {n.pod, "127.0.0.1", inbound, ""},
			}
			for name, tt := range tests {
				response, err := responseAt(t, tt.from, tt.host, tt.port)
				if tt.want != "" && (response != tt.want || err != nil) {
					t.Errorf("%s: response %q, %v, want %q", name, response, err, tt.want)
				}
				if tt.want == "" && err == nil {
					t.Errorf("%s: response %q, want a reset", name, response)
				}
			}
			for range 3 {
				select {
				case why := <-refusals:
					if why != listen.Direct && why != listen.Untracked {
						t.Errorf("refused as %q", why)
					}
				case <-time.After(waitLimit):
					t.Fatal("a connection to the inbound port was not counted")
				}
			}
		})
	}
}

// TestOutboundIsNotRedirected: the pod's own calls and their responses are not redirected.
// TestDeletedRulesAreNoticed deletes the table, as nft flush ruleset does, and looks from a process without any capability's help.
func TestDeletedRulesAreNoticed(t *testing.T) {
	for form, program := range programs() {
		t.Run(form, func(t *testing.T) {
			n := newNetwork(t)
			sidecar(t, n)
			serve(t, n, admin, "admin")
			exist := func(listening ...netip.AddrPort) (exist bool) {
				within(t, n.pod, func() error {
					exist = sockets.RulesExist(t.Context(), listening)
					return nil
				})
				return exist
			}
			if exist() {
				t.Error("rules are found before there are any")
			}
			within(t, n.pod, program)
			if !exist() {
				t.Error("the rules are not found")
			}
			if exist(netip.MustParseAddrPort("127.0.0.1:15993")) {
				t.Error("a container that listens on the port proves the rules")
			}
			within(t, n.pod, func() error {
				conn, err := nftables.New()
				if err != nil {
					return err
				}
				conn.FlushRuleset()
				return conn.Flush()
			})
			if exist() {
				t.Error("the rules are found after they were deleted")
			}
		})
	}
}

func TestOutboundIsNotRedirected(t *testing.T) {
	n := newNetwork(t)
	within(t, n.pod, func() error { return Program(config()) })
	within(t, n.client, func() error {
		l, err := net.Listen("tcp", ":9000")
		if err != nil {
			return err
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
				io.WriteString(conn, "outside")
				conn.Close()
			}
		}()
		return nil
	})
	for _, host := range []string{"10.199.7.1", "fd00:199:7::1"} {
		if response, err := responseAt(t, n.pod, host, 9000); response != "outside" || err != nil {
			t.Errorf("response of %s %q, %v", host, response, err)
		}
	}
}

func TestUDPIsNotRedirected(t *testing.T) {
	n := newNetwork(t)
	within(t, n.pod, func() error { return Program(config()) })
	var server, client net.PacketConn
	within(t, n.pod, func() (err error) { server, err = net.ListenPacket("udp", pod4+":5353"); return err })
	within(t, n.client, func() (err error) { client, err = net.ListenPacket("udp", "10.199.7.1:0"); return err })
	defer server.Close()
	defer client.Close()
	if _, err := client.WriteTo([]byte("hello"), server.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	server.SetReadDeadline(time.Now().Add(waitLimit))
	buf := make([]byte, 16)
	if n, _, err := server.ReadFrom(buf); string(buf[:n]) != "hello" || err != nil {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}

// TestNoSidecar: without a listening sidecar the app is unreachable, because the pod fails closed.
func TestNoSidecar(t *testing.T) {
	n := newNetwork(t)
	serve(t, n, appPort, "app")
	within(t, n.pod, func() error { return Program(config()) })
	if response, err := responseAt(t, n.client, pod4, appPort); err == nil {
		t.Errorf("response %q without the sidecar", response)
	}
}

// The kernel does not redirect packets that connection tracking does not follow; they must not reach the app. Here a foreign
// rule replaces a client that crafts invalid packets.
func TestUntrackedPacketsDoNotReachTheApp(t *testing.T) {
	n := newNetwork(t)
	serve(t, n, appPort, "app")
	serve(t, n, excluded, "excluded")
	nft(t, n, "add table inet other", "add chain inet other raw { type filter hook prerouting priority raw; }",
		"add rule inet other raw tcp dport "+strconv.Itoa(appPort)+" notrack")
	if response, err := responseAt(t, n.client, pod4, appPort); response != "app" {
		t.Fatalf("before: response %q, %v", response, err)
	}
	within(t, n.pod, func() error { return Program(config()) })
	for _, host := range []string{pod4, pod6} {
		if response, err := responseAt(t, n.client, host, appPort); err == nil {
			t.Errorf("response of %s %q around the sidecar", host, response)
		}
		if response, err := responseAt(t, n.client, host, excluded); response != "excluded" {
			t.Errorf("response of an excluded port %q, %v", response, err)
		}
	}
}

// TestOnlyItsOwnTableIsReplaced: other tables stay, and postern's tables of an earlier run or version are removed.
func TestOnlyItsOwnTableIsReplaced(t *testing.T) {
	n := newNetwork(t)
	nft(t, n, "add table inet other", "add table ip postern", "add chain ip postern stale", "add table inet postern",
		"add chain inet postern prerouting { type nat hook prerouting priority dstnat; }", "add rule inet postern prerouting accept")
	within(t, n.pod, func() error { return Program(config()) })
	got := nft(t, n, "list ruleset")
	if !strings.Contains(got, "table inet other") || strings.Contains(got, "stale") || strings.Contains(got, "table ip postern") ||
		strings.Contains(got, "\taccept") || !strings.Contains(got, "redirect to :15990") {
		t.Errorf("ruleset:\n%s", got)
	}
}

// nft edits the pod's rules as another program would.
func nft(t *testing.T, n network, commands ...string) string {
	t.Helper()
	cmd := exec.Command("ip", "netns", "exec", n.pod, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	return string(out)
}

func TestVerifyFindsDifferences(t *testing.T) {
	tests := map[string][]string{
		"a rule first":     {"insert rule inet postern prerouting accept"},
		"a rule changed":   {"flush chain inet postern prerouting", "add rule inet postern prerouting tcp dport 1 accept"},
		"no rules":         {"flush chain inet postern prerouting"},
		"no table":         {"delete table inet postern"},
		"a second table":   {"add table ip postern"},
		"a second chain":   {"add chain inet postern extra"},
		"a dormant table":  {"add table inet postern { flags dormant; }"},
		"another priority": {"delete chain inet postern prerouting", "add chain inet postern prerouting { type nat hook prerouting priority 5; }"},
		"no hook":          {"delete chain inet postern prerouting", "add chain inet postern prerouting"},
		"no guard":         {"delete chain inet postern input"},
		"guard disabled":   {"insert rule inet postern input accept"},
	}
	n := newNetwork(t)
	for name, commands := range tests {
		t.Run(name, func(t *testing.T) {
			within(t, n.pod, func() error { return Program(config()) })
			nft(t, n, commands...)
			within(t, n.pod, func() error {
				conn, err := nftables.New()
				if err != nil {
					return err
				}
				if err := config().verify(conn, []nftables.TableFamily{nftables.TableFamilyINet}); !errors.Is(err, ErrMismatch) {
					t.Errorf("error %v", err)
				}
				return nil
			})
		})
	}
}

// TestCommand: the exit code of the command says what is missing.
func TestCommand(t *testing.T) {
	n := newNetwork(t)
	binary := t.TempDir() + "/redirect"
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/posterndev/postern/cmd/redirect").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tests := map[string]struct {
		env, wrap []string
		wantCode  int
		wantText  string
	}{
		"works":             {[]string{EnvExcludedPorts + "=22"}, nil, 0, "inbound traffic is redirected"},
		"wrong environment": {[]string{EnvInboundPort + "=x"}, nil, 2, "want a port from 1 to 65535"},
		"no NET_ADMIN":      {nil, []string{"setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"}, 3, "the capability NET_ADMIN"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			args := append(append([]string{"netns", "exec", n.pod}, tt.wrap...), binary)
			cmd := exec.Command("ip", args...)
			cmd.Env = append(os.Environ(), tt.env...)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != tt.wantCode || !strings.Contains(string(out), tt.wantText) {
				t.Errorf("exit code %d, %s", code, out)
			}
		})
	}
}
