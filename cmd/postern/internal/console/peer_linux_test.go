package console

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestPeerUser finds the user of a real connection.
func TestPeerUser(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	uid, err := peerUser(addressOf(client.RemoteAddr()), addressOf(client.LocalAddr()))
	if err != nil || uid != os.Getuid() {
		t.Errorf("uid %d, %v", uid, err)
	}
	if _, err := peerUser(addressOf(client.RemoteAddr()), netip.MustParseAddrPort("127.0.0.1:1")); err == nil {
		t.Error("a connection that does not exist has a user")
	}
}

func TestSocketUser(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:A112 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0100007F:C001 0100007F:A112 01 00000000:00000000 00:00000000 00000000  1000        0 2
   2: 0000000000000000FFFF00000100007F:C002 0000000000000000FFFF00000100007F:A112 01 00000000:00000000 00:00000000 00000000  1001        0 3
   3: 0100007F:C003 0100007F:A112 01 00000000:00000000 00:00000000 00000000  x        0 4
short
`
	console := netip.MustParseAddrPort("127.0.0.1:41234")
	for remote, want := range map[string]int{"127.0.0.1:49153": 1000, "[::ffff:127.0.0.1]:49154": 1001, "127.0.0.1:49155": -1, "127.0.0.1:49156": -1} {
		uid, ok, _ := socketUser(strings.NewReader(table), netip.MustParseAddrPort(remote), console)
		if ok != (want >= 0) || ok && uid != want {
			t.Errorf("%s: %d, %v", remote, uid, ok)
		}
	}
}

func FuzzSocketUser(f *testing.F) {
	f.Add("   1: 0100007F:C001 0100007F:A112 01 00000000:00000000 00:00000000 00000000  1000        0 2\n")
	f.Fuzz(func(t *testing.T, table string) {
		a := netip.MustParseAddrPort("127.0.0.1:49153")
		_, _, _ = socketUser(strings.NewReader(table), a, a)
	})
}

// TestOwnListener: connections of other users, and of whom the system does not know, are closed.
func TestOwnListener(t *testing.T) {
	for name, tt := range map[string]struct {
		uid     int
		err     error
		anyUser bool
		want    bool
	}{
		"own": {uid: os.Getuid(), want: true}, "root": {uid: 0, want: true}, "another": {uid: 54321}, "another, allowed": {uid: 54321, anyUser: true, want: true}, "unknown": {err: errors.New("no socket")},
	} {
		t.Run(name, func(t *testing.T) {
			inner, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			b := newConsole(t, newFakeCluster(t), func(c *Config) { c.AnyUser = tt.anyUser })
			l := &ownListener{inner, b.console, func(local, remote netip.AddrPort) (int, error) { return tt.uid, tt.err }}
			server := &http.Server{Handler: b.console, ReadHeaderTimeout: time.Minute}
			go func() { _ = server.Serve(l) }()
			defer server.Close()
			response, err := http.Get("http://" + inner.Addr().String())
			if got := err == nil; got != tt.want {
				t.Errorf("accepted: %v, %v", got, err)
			}
			if err == nil {
				response.Body.Close()
			}
		})
	}
}
