package upstream

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
)

const (
	// probeTimeout bounds asking an app for its protocol.
	probeTimeout = time.Second
	// probeEvery is how long the result is valid. An app that changes its protocol restarts its container.
	probeEvery = time.Minute
	// clientPreface begins an HTTP/2 connection (RFC 9113 §3.4), here with empty settings.
	clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

// protocols finds out which apps speak HTTP/2 with prior knowledge.
type protocols struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	now  func() time.Time

	mu    sync.Mutex
	known map[string]*probed
}

// probed is the result of one target. Its mutex makes concurrent requests wait for one probe.
type probed struct {
	mu    sync.Mutex
	http2 bool
	until time.Time
}

// useHTTP2 reports whether r is sent to the app as HTTP/2. Requests of HTTP/1.x, and upgrades, which HTTP/2 does not have, are sent
// as HTTP/1.1. Calls of gRPC need HTTP/2. Other HTTP/2 requests are sent as the app understands them.
func (p *protocols) useHTTP2(r *http.Request, target string) bool {
	upgrade := len(r.Header["Upgrade"]) > 0
	switch request.From(r).UpstreamProtocol {
	case request.HTTP1:
		return false
	case request.H2C:
		return !upgrade
	}
	if r.ProtoMajor != 2 || upgrade {
		return false
	}
	return isGRPC(r) || p.speaksHTTP2(r.Context(), target)
}

func isGRPC(r *http.Request) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(r.Header.Get("Content-Type")), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// speaksHTTP2 returns what the app at target speaks. If it cannot be reached, the result is true and is not kept: the request then
// fails for the same reason.
func (p *protocols) speaksHTTP2(ctx context.Context, target string) bool {
	p.mu.Lock()
	t := p.known[target]
	if t == nil {
		t = &probed{}
		p.known[target] = t // there are as many targets as the app has ports
	}
	p.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.now().Before(t.until) {
		return t.http2
	}
	http2, err := p.probe(ctx, target)
	if err != nil {
		return true
	}
	t.http2, t.until = http2, p.now().Add(probeEvery)
	return http2
}

// probe opens a connection and reports whether the app responds to the preface of HTTP/2 with its settings (RFC 9113 §3.4). An app
// that closes the connection or responds with anything else, or not in time, speaks HTTP/1.1 alone.
func (p *protocols) probe(ctx context.Context, target string) (bool, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	conn, err := p.dial(ctx, "tcp", target)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(probeTimeout)); err != nil {
		return false, err
	}
	if _, err := io.WriteString(conn, clientPreface); err != nil {
		return false, nil
	}
	var head [9]byte // of a frame, RFC 9113 §4.1
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return false, nil
	}
	const settings = 4
	return head[3] == settings && head[4]&1 == 0 && head[5]|head[6]|head[7]|head[8] == 0, nil
}
