package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// idleConnections is the number of open connections, and of WebSockets, of which the memory is measured.
const idleConnections = 1000

// footprint is what one kind of process needs.
type footprint struct {
	name string
	// ready is the time from the start to the first ready response. The memory is in MiB, resident.
	ready                time.Duration
	binary               float64
	idle, anonymous      float64
	connections, sockets float64
}

// memory measures start and memory of a sidecar, of `postern run` and of the peers.
func (s *suite) memory(ctx context.Context) error {
	var rows []*footprint
	for _, k := range []struct {
		name  string
		start func(context.Context) (*proxy, string, error)
	}{
		{"sidecar, no sections", func(ctx context.Context) (*proxy, string, error) { return s.sidecarProcess(ctx, "none") }},
		{"sidecar, everything in memory", func(ctx context.Context) (*proxy, string, error) { return s.sidecarProcess(ctx, "all") }},
		{"postern run, everything in memory", func(ctx context.Context) (*proxy, string, error) {
			p, err := s.bench.postern(ctx, "memory", s.policy("all"))
			return p, filepath.Join(s.dir, "postern"), err
		}},
		{"nginx, with the listeners of all rows", installed("nginx", s.nginx)},
		{"HAProxy, with the listeners of all rows", installed("haproxy", s.haproxy)},
	} {
		fmt.Fprintf(s.progress, "memory: %s\n", k.name)
		f, err := s.footprint(ctx, k.name, k.start)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		rows = append(rows, f)
	}
	return s.printMemory(rows)
}

// installed starts a peer whose binary is on the PATH.
func installed(name string, start func(context.Context) (*proxy, error)) func(context.Context) (*proxy, string, error) {
	return func(ctx context.Context) (*proxy, string, error) {
		p, err := start(ctx)
		return p, filepath.Join("/usr/sbin", name), err
	}
}

func (s *suite) footprint(ctx context.Context, name string, start func(context.Context) (*proxy, string, error)) (*footprint, error) {
	p, binary, err := start(ctx)
	if err != nil {
		return nil, err
	}
	f := &footprint{name: name}
	if admin := p.addresses["admin"]; admin != "" {
		if err := awaitReady(ctx, "http://"+admin+"/readyz"); err != nil {
			return nil, err
		}
		f.ready = time.Since(p.began)
	}
	info, err := os.Stat(binary)
	if err != nil {
		return nil, err
	}
	f.binary = float64(info.Size()) / (1 << 20)
	time.Sleep(2 * time.Second) // what starting needs is given back
	if f.idle, f.anonymous, err = p.resident(); err != nil {
		return nil, err
	}
	token := s.tokens[0]
	hold := func(request string) (float64, error) {
		release, err := held(ctx, p.addresses["plain"], idleConnections, request)
		if err != nil {
			return 0, err
		}
		defer release()
		time.Sleep(time.Second)
		rss, _, err := p.resident()
		return rss, err
	}
	if f.connections, err = hold(string(get("/", token))); err != nil {
		return nil, fmt.Errorf("connections: %w", err)
	}
	if p, _, err = start(ctx); err != nil { // a new process: what the connections needed does not count
		return nil, err
	}
	if admin := p.addresses["admin"]; admin != "" {
		if err := awaitReady(ctx, "http://"+admin+"/readyz"); err != nil {
			return nil, err
		}
	}
	if f.sockets, err = hold(webSocket(token)); err != nil {
		return nil, fmt.Errorf("WebSockets: %w", err)
	}
	return f, nil
}

// webSocket renders a handshake, RFC 6455 §4.1.
func webSocket(token string) string {
	return "GET / HTTP/1.1\r\nHost: bench.example.com\r\nOrigin: https://shop.example.com\r\nAuthorization: Bearer " + token +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// held opens connections from several addresses, because a sidecar limits those of one, sends one request on each, reads the response, and leaves
// them open.
func held(ctx context.Context, address string, n int, request string) (release func(), err error) {
	var open []net.Conn
	release = func() {
		for _, c := range open {
			_ = c.Close()
		}
	}
	for i := range n {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%100))}}
		c, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			release()
			return nil, err
		}
		open = append(open, c)
		if err := exchange(c, request); err != nil {
			release()
			return nil, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return release, nil
}

// exchange sends a request and reads the response to it: the head, and the body of 1 KiB after a 200.
func exchange(c net.Conn, request string) error {
	_ = c.SetDeadline(time.Now().Add(waitLimit))
	if _, err := c.Write([]byte(request)); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// awaitReady waits until a sidecar says that it is ready.
func awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, waitLimit)
	defer cancel()
	client := newClient(1)
	defer client.CloseIdleConnections()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", url, errors.Join(err, ctx.Err()))
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *suite) printMemory(rows []*footprint) error {
	out := [][]string{{"", "binary MiB", "ms to ready", "idle MiB", "of it anonymous", "1,000 connections", "1,000 WebSockets", "more than idle"}}
	for _, f := range rows {
		started := "-"
		if f.ready > 0 {
			started = milliseconds(f.ready)
		}
		out = append(out, []string{
			f.name, mebibytes(f.binary), started, mebibytes(f.idle), mebibytes(f.anonymous), mebibytes(f.connections), mebibytes(f.sockets), mebibytes(f.sockets - f.idle),
		})
	}
	sidecar, all, run := rows[0], rows[1], rows[2]
	s.memoryGoals = []goal{
		{name: "sidecar idle, resident", got: sidecar.idle, most: 20, unit: " MiB"},
		{name: "sidecar, 1,000 open connections, resident", got: all.connections, most: 40, unit: " MiB"},
		{name: "sidecar, 1,000 idle WebSockets, more than idle", got: all.sockets - all.idle, most: 24, unit: " MiB"},
		{name: "sidecar, start to ready", got: float64(all.ready) / 1e6, most: 50, unit: " ms"},
		per("postern run / sidecar, idle", run.idle, all.idle, 1.1),
	}
	return s.publish("memory", "Memory and start, resident MiB", out)
}

func mebibytes(v float64) string { return fmt.Sprintf("%.1f", v) }

// resident returns the resident memory of the proxy's processes in MiB, and the anonymous part of it.
func (p *proxy) resident() (rss, anonymous float64, err error) {
	pids, err := family(p.pid())
	if err != nil {
		return 0, 0, err
	}
	for _, pid := range pids {
		fields, err := statusOf(pid)
		if err != nil {
			return 0, 0, err
		}
		rss += fields["VmRSS"]
		anonymous += fields["RssAnon"]
	}
	return rss, anonymous, nil
}

// statusOf returns the sizes in /proc/PID/status in MiB, by their names: proc_pid_status(5).
func statusOf(pid int) (map[string]float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	out := map[string]float64{}
	for line := range strings.Lines(string(content)) {
		name, value, _ := strings.Cut(line, ":")
		var kib float64
		if _, err := fmt.Sscanf(value, "%f kB", &kib); err == nil {
			out[name] = kib / 1024
		}
	}
	return out, nil
}
