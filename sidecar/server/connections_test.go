package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/conn/capacity"
)

func TestMostConnections(t *testing.T) {
	tests := map[string]struct {
		memory int64
		files  uint64
		want   int
	}{
		"no limit":            {math.MaxInt64, math.MaxInt64, math.MaxInt64 / connectionMemory},
		"the default's 230Mi": {230 << 20, 1 << 20, 230 << 20 / connectionMemory},
		"very little":         {1 << 20, 1 << 20, minLimit},
		"few files":           {1 << 30, 1024, 256},
		"very few files":      {1 << 30, 16, minLimit},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := mostConnections(tt.memory, tt.files); got != tt.want {
				t.Errorf("got %d; want %d", got, tt.want)
			}
		})
	}
}

func TestLimitsOfConnections(t *testing.T) {
	const most, minute = 1000, compiled.Duration(time.Minute)
	tests := map[string]struct {
		most    int
		section *compiled.Connections
		want    capacity.Limits
	}{
		"nothing":            {most, nil, capacity.Limits{Max: 1000, MaxPerAddress: 500, IdleTimeout: 2 * time.Minute}},
		"no memory limit":    {1 << 40, nil, capacity.Limits{Max: maxLimit, MaxPerAddress: maxLimit / 2, IdleTimeout: 2 * time.Minute}},
		"everything":         {most, &compiled.Connections{Max: 100, MaxPerAddress: 10, IdleTimeout: minute}, capacity.Limits{Max: 100, MaxPerAddress: 10, IdleTimeout: time.Minute}},
		"the share follows":  {most, &compiled.Connections{Max: 100, IdleTimeout: minute}, capacity.Limits{Max: 100, MaxPerAddress: 50, IdleTimeout: time.Minute}},
		"more than fits":     {most, &compiled.Connections{Max: 5000, MaxPerAddress: 4000, IdleTimeout: minute}, capacity.Limits{Max: 1000, MaxPerAddress: 1000, IdleTimeout: time.Minute}},
		"more than a memory": {1 << 40, &compiled.Connections{Max: 50000, IdleTimeout: minute}, capacity.Limits{Max: 50000, MaxPerAddress: 25000, IdleTimeout: time.Minute}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &connections{most: tt.most}
			got := c.limits(tt.section, []string{"10.1.2.3/8"})
			if len(got.Trusted) != 1 || got.Trusted[0] != netip.MustParsePrefix("10.0.0.0/8") {
				t.Errorf("trusted %v", got.Trusted)
			}
			if got.Trusted = nil; got.Max != tt.want.Max || got.MaxPerAddress != tt.want.MaxPerAddress || got.IdleTimeout != tt.want.IdleTimeout {
				t.Errorf("got %+v; want %+v", got, tt.want)
			}
		})
	}
}

// from dials from a loopback address of its own.
func from(address string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 20 * time.Second}
}

// honest is a client at an address of its own that keeps its connections, and counts them.
func honest(t *testing.T, address string) (c *http.Client, dialed *atomic.Int32) {
	t.Helper()
	dialed = &atomic.Int32{}
	transport := &http.Transport{MaxConnsPerHost: 1, DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
		dialed.Add(1)
		return from(address).DialContext(ctx, network, to)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}, dialed
}

// h2Preface is the start of an HTTP/2 connection with empty settings.
const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// h2Denied is HEADERS of stream 1: GET and http are indexed, the path /denied and the authority x are literals (RFC 7541
// §6.1, §6.2.2).
const h2Denied = "\x00\x00\x0e\x01\x05\x00\x00\x00\x01" + "\x82\x86\x04\x07/denied\x01\x01x"

// denied makes the sidecar refuse /denied by itself.
func denied(p *compiled.Policy) {
	p.Authorization.Rules = []compiled.AuthorizationRule{{
		Name: "denied", Match: []compiled.Match{{Paths: []string{"/denied"}}}, Require: compiled.RequireDeny, Mode: compiled.Enforce,
	}}
}

// TestFloodsOfConnections: whatever one client opens, another one gets in, keeps its connection, and sees no error.
func TestFloodsOfConnections(t *testing.T) {
	const most, share, flood = 40, 20, 120
	attacks := map[string]struct {
		sent string
		// state is that in which the sidecar closes the connections.
		state string
		// awaited is how many bytes of the response show that the connection is in that state.
		awaited string
	}{
		"silence":                  {"", "waiting", ""},
		"half a head":              {"GET / HTTP/1.1\r\nHost: x\r\nA: ", "waiting", ""},
		"HTTP/1.1, one GET":        {"GET /denied HTTP/1.1\r\nHost: x\r\n\r\n", "idle", `"status":403`},
		"a body that nobody wants": {"POST /denied HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", "finishing", ""},
		"HTTP/2, no request":       {h2Preface, "waiting", ""},
		"HTTP/2, one request":      {h2Preface + h2Denied, "idle", `"status":403`},
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := makeDocument(func(p *compiled.Policy) {
				denied(p)
				p.Sidecar.Connections = &compiled.Connections{Max: most, MaxPerAddress: share, IdleTimeout: compiled.Duration(time.Hour)}
			})
			r := startStandalone(t, p, hello)
			client, dialed := honest(t, "127.0.0.9")
			get := get(t, client, "http://"+r.address)
			get()
			for i := range flood {
				// The second half of the flood comes from many clients, each below its share.
				address := "127.0.0.8"
				if i >= flood/2 {
					address = fmt.Sprintf("127.0.1.%d", i/4)
				}
				conn, err := from(address).Dial("tcp", r.address)
				if err != nil {
					continue // it was refused already
				}
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(conn, attack.sent)
				if attack.awaited != "" {
					awaitText(t, conn, attack.awaited)
				}
				if i%10 == 0 {
					get()
				}
			}
			newcomer, _ := honest(t, "127.0.0.10")
			getOf(t, newcomer, r.address)()
			get()
			// Idle connections close before responses are cut, so here the honest client's may close as well.
			if n := dialed.Load(); n > 2 && attack.state != "finishing" {
				t.Errorf("the honest client connected %d times", n)
			}
			if status, _, err := r.ask("/readyz"); status != http.StatusOK {
				t.Errorf("readyz %d, %v", status, err)
			}
			_, metrics, err := r.ask("/metrics")
			if err != nil {
				t.Fatal(err)
			}
			for _, reason := range []string{"address", "max"} {
				want := fmt.Sprintf("postern_connections_closed_total{reason=%q,state=%q}", reason, attack.state)
				if reason == "address" && attack.state == "finishing" {
					want = `postern_connections_refused_total{reason="address"}` // none of its own connections may close that soon
				}
				if !counted(metrics, want) {
					t.Errorf("no %s in\n%s", want, lineWith(metrics, "postern_connections"))
				}
			}
			if !strings.Contains(metrics, fmt.Sprintf("postern_connections_max %d", most)) {
				t.Errorf("the maximum is not shown:\n%s", lineWith(metrics, "postern_connections_max"))
			}
			r.log.await(t, 1, "connections closed or refused because there are too many")
		})
	}
}

// counted reports whether a series has a value other than 0.
func counted(metrics, series string) bool {
	return strings.Contains(metrics, series+" ") && !strings.Contains(metrics, series+" 0\n")
}

func getOf(t *testing.T, c *http.Client, address string) func() {
	return get(t, c, "http://"+address)
}

// awaitText reads until the response has text.
func awaitText(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	for got, buf := "", make([]byte, 4096); !strings.Contains(got, text); {
		n, err := conn.Read(buf)
		if got += string(buf[:n]); err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func lineWith(text, part string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestIdleTimeoutOfTheClass: connections without a request are closed, and one of HTTP/2 gets GOAWAY first. A request in
// progress is not cut.
func TestIdleTimeoutOfTheClass(t *testing.T) {
	release := make(chan struct{})
	p := makeDocument(func(p *compiled.Policy) {
		p.Sidecar.Connections = &compiled.Connections{IdleTimeout: compiled.Duration(time.Second)}
	})
	r := startStandalone(t, p, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		hello(w, r)
	}))
	slow := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + r.address + "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		slow <- string(b)
	}()
	one, two := connect(t, "127.0.0.1", r.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), connect(t, "127.0.0.1", r.address, h2Preface+h2Denied)
	if b, err := io.ReadAll(one); err != nil || !strings.HasSuffix(string(b), "hello") {
		t.Errorf("HTTP/1.1: %q, %v", b, err)
	}
	frames := framesOf(t, two)
	if last := frames[len(frames)-1]; last != 7 {
		t.Errorf("HTTP/2: frames of types %v; want GOAWAY (7) last", frames)
	}
	close(release)
	if got := <-slow; got != "hello" {
		t.Errorf("the request in progress got %q", got)
	}
}

// connect connects from an address and sends text, and waits at most 20 s for what it reads.
func connect(t *testing.T, client, address, text string) net.Conn {
	t.Helper()
	conn, err := from(client).Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// framesOf returns the types of the frames that an HTTP/2 connection receives until it ends.
func framesOf(t *testing.T, conn net.Conn) (types []byte) {
	t.Helper()
	for r := bufio.NewReader(conn); ; {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			if len(types) == 0 {
				t.Fatal(err)
			}
			return types
		}
		length := int64(binary.BigEndian.Uint32(append([]byte{0}, head[:3]...)))
		if _, err := io.CopyN(io.Discard, r, length); err != nil {
			t.Fatal(err)
		}
		types = append(types, head[3])
	}
}

// TestAdminRespondsWhileClientsHoldAll: with every place of the clients in use by requests, and with more connections to
// the admin port than it has places, the kubelet and Prometheus are served.
func TestAdminRespondsWhileClientsHoldAll(t *testing.T) {
	const most = 32
	arrived, release := make(chan struct{}, most), make(chan struct{})
	p := makeDocument(func(p *compiled.Policy) {
		p.Sidecar.Connections = &compiled.Connections{Max: most, MaxPerAddress: most, IdleTimeout: compiled.Duration(time.Hour)}
	})
	r := startStandalone(t, p, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer close(release)
	for range most {
		connect(t, "127.0.0.1", r.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		<-arrived
	}
	for range 8 {
		connect(t, "127.0.0.9", r.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") // these wait for a place
	}
	for range 2 * adminConnections {
		conn, err := net.Dial("tcp", r.admin)
		if err != nil {
			continue // the next ones have taken its place already
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n") // without the end of the head
	}
	for _, path := range []string{"/healthz", "/healthz/started", "/readyz", "/metrics"} {
		if status, body, err := r.ask(path); status != http.StatusOK {
			t.Errorf("%s: %d %s, %v", path, status, body, err)
		}
	}
	_, metrics, _ := r.ask("/metrics")
	for _, want := range []string{`postern_connections{state="busy"} 32`, `postern_admin_connections_closed_total{reason="address"}`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, lineWith(metrics, "connections"))
		}
	}
}

// TestResetStreamsLeaveConnectionsIdle: a client that resets its streams at once does not make its connection look busy for ever.
func TestResetStreamsLeaveConnectionsIdle(t *testing.T) {
	r := startStandalone(t, makeDocument(denied), hello)
	text := []byte(h2Preface)
	for stream := range uint32(100) {
		id := binary.BigEndian.AppendUint32(nil, 2*stream+1)
		text = append(append(append(text, h2Denied[:5]...), id...), h2Denied[9:]...)
		text = append(append(append(text, 0, 0, 4, 3, 0), id...), 0, 0, 0, 8) // RST_STREAM, CANCEL
	}
	connect(t, "127.0.0.1", r.address, string(text))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		_, metrics, err := r.ask("/metrics")
		if err == nil && strings.Contains(metrics, `postern_connections{state="idle"} 1`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v\n%s", err, lineWith(metrics, "postern_connections"))
		}
	}
}
