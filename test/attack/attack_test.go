package attack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/posterndev/postern/api/compiled"
)

// honest are clients that send ordinary requests, each from an address of its own, and record how they fare.
type honest struct {
	mu    sync.Mutex
	took  []time.Duration
	fails []string
	stop  func()
}

// serve starts n honest clients. Each sends a GET and a small POST in turn, with a short pause.
func serve(t *testing.T, d *door, n int) *honest {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := &honest{}
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() {
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(1+i))}}
			client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: from.DialContext}}
			defer client.CloseIdleConnections()
			for n := 0; ctx.Err() == nil; n++ {
				h.request(ctx, client, d, n)
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
	h.stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
	t.Cleanup(h.stop)
	return h
}

func (h *honest) request(ctx context.Context, client *http.Client, d *door, n int) {
	method, body := http.MethodGet, io.Reader(nil)
	if n%2 == 1 {
		method, body = http.MethodPost, strings.NewReader("name=value")
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+d.address+"/page", body)
	if err != nil {
		panic(err)
	}
	begin := time.Now()
	resp, err := client.Do(r)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %s", resp.Status)
		}
	}
	if ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.took = append(h.took, time.Since(begin))
	if err != nil {
		h.fails = append(h.fails, err.Error())
	}
}

// count returns how many requests were sent so far.
func (h *honest) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.took)
}

// report describes how the clients fared.
func (h *honest) report(d *door, t *testing.T) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	sorted := slices.Sorted(slices.Values(h.took))
	at := func(part float64) time.Duration {
		if len(sorted) == 0 {
			return 0
		}
		return sorted[int(part*float64(len(sorted)-1))].Round(100 * time.Microsecond)
	}
	now, peak := d.memory(t)
	return fmt.Sprintf("honest requests %d, errors %d, p50 %s, p99 %s; RSS %d MiB, at most %d MiB", len(sorted), len(h.fails), at(0.5), at(0.99), now>>20, peak>>20)
}

// An attack is a flood from one address or several.
type attack struct {
	name string
	// clients hold from the addresses that from returns.
	clients int
	from    func(int) string
	hold    func(*flood, net.Conn)
	// least is how many things must be open before the honest clients are judged.
	least int64
	// wantRefused is the budget whose refusals must be counted; empty for none.
	wantRefused string
}

// attacks are those of the floods in docs/security.md.
func attacks() []attack {
	return []attack{
		{"6 HTTP/2 connections of 245 silent POST streams", 6, one("127.0.3.1"), silentStreams(245), 150, "requests"},
		{"1300 slow HTTP/1.1 bodies", 1300, one("127.0.3.2"), slowBody, 150, "requests"},
		{"300 unread HTTP/2 responses", 6, one("127.0.3.3"), unreadStreams(50), 100, ""},
		{"1226 idle WebSockets of as many people", 1226, many, idleSocket, 1226, ""},
	}
}

// TestHonestClientsBesideAttacks: while one address floods, other addresses see no error, and the admin port responds.
func TestHonestClientsBesideAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			d := open(t, nil)
			f := start(t, d, a.clients, a.from, a.hold)
			eventually(t, "the flood holds what it gets", func() bool { return f.open.Load() >= a.least })
			if a.wantRefused != "" {
				eventually(t, "refusals are counted", func() bool {
					return d.metric(t, "postern_overload_refusals_total", `budget="`+a.wantRefused+`"`, `reason="full"`) == 0 &&
						d.metric(t, "postern_overload_refusals_total", `budget="`+a.wantRefused+`"`) > 0
				})
			}
			judge(t, d, 400)
		})
	}
}

// TestDeniedBodiesHoldNothing: a request that the policy denies does not wait for its body.
func TestDeniedBodiesHoldNothing(t *testing.T) {
	d := open(t, func(p *compiled.Policy) {
		p.Authorization.Rules = []compiled.AuthorizationRule{{
			Name: "no-uploads", Match: []compiled.Match{{Paths: []string{"/upload"}}}, Require: compiled.RequireDeny, Mode: compiled.Enforce,
		}}
	})
	start(t, d, 6, one("127.0.3.1"), silentStreams(245))
	f := start(t, d, 50, one("127.0.3.2"), slowBody)
	eventually(t, "the bodies are refused", func() bool { return f.ended.Load() > 20 })
	judge(t, d, 400)
	eventually(t, "no request is held", func() bool { return d.metric(t, "postern_budget_open", `"requests"`) < 150 })
}

// TestAllAttacksTogether: nobody else notices all of them at once.
func TestAllAttacksTogether(t *testing.T) {
	d := open(t, nil)
	for _, a := range attacks() {
		f := start(t, d, a.clients, a.from, a.hold)
		eventually(t, a.name, func() bool { return f.open.Load() > 10 })
	}
	judge(t, d, 400)
}

// judge waits for some honest requests, and asserts that none failed, that the admin port responds, and that the memory is enough.
func judge(t *testing.T, d *door, requests int) {
	t.Helper()
	h := serve(t, d, 4)
	eventually(t, "honest requests", func() bool {
		if _, err := d.ask("/readyz"); err != nil {
			t.Errorf("the admin port: %v", err)
			return true
		}
		return h.count() >= requests
	})
	h.stop()
	t.Log(h.report(d, t))
	if len(h.fails) > 0 {
		t.Errorf("%d of %d honest requests failed, the first: %s", len(h.fails), len(h.took), h.fails[0])
	}
	if _, peak := d.memory(t); peak >= containerLimit {
		t.Errorf("%d MiB; the container has %d MiB", peak>>20, containerLimit>>20)
	}
}
