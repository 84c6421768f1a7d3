// Package passthrough forwards TCP connections that the sidecar does not inspect: bytes go both ways unchanged, inside the
// kernel if it can splice.
package passthrough

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Config says where connections go. Target is required.
type Config struct {
	// Target is the app's address, "host:port", for the address that the client connected to.
	Target func(local netip.AddrPort) string
	// DialTimeout bounds the connect to the app; 0 is 5 s.
	DialTimeout time.Duration
	// IdleTimeout ends a connection on which no byte has moved in either direction for that time, or one side of which has read
	// nothing of what the other sent. It may take up to a quarter longer. 0 is 1 h.
	IdleTimeout time.Duration
	// MaxConns is the most connections at once; more are reset. 0 is 10000.
	MaxConns int
	// OnEnd is called when a connection ends; it may be nil.
	OnEnd func(Stats)
	// Logger is slog.Default() if nil.
	Logger *slog.Logger
}

// End is why a connection ended; a metric's label.
type End string

const (
	// Finished is both sides having closed.
	Finished End = "finished"
	// Broken is a side that reset the connection or failed.
	Broken End = "broken"
	// Idle is IdleTimeout.
	Idle End = "idle"
	// Unreachable is an app that could not be connected to.
	Unreachable End = "unreachable"
	// Crowded means that MaxConns was reached.
	Crowded End = "crowded"
	// Stopped is the proxy's shutdown, or the end of Serve's context.
	Stopped End = "stopped"
)

// Ends returns every End, for a metric that has each of them from the start.
func Ends() []End { return []End{Finished, Broken, Idle, Unreachable, Crowded, Stopped} }

// Stats are one connection's figures.
type Stats struct {
	Local netip.AddrPort
	// FromClient and ToClient are in bytes.
	FromClient, ToClient int64
	Duration             time.Duration
	End                  End
}

// Proxy forwards connections.
type Proxy struct {
	config Config
	dialer net.Dialer
	log    *slog.Logger
	places chan struct{}
	// force ends every connection.
	force context.Context
	kill  context.CancelFunc

	mu      sync.Mutex
	stopped bool
	running sync.WaitGroup
}

// New returns a Proxy.
func New(config Config) (*Proxy, error) {
	if config.Target == nil {
		return nil, errors.New("creating a TCP proxy: Target is required")
	}
	if config.DialTimeout <= 0 {
		config.DialTimeout = 5 * time.Second
	}
	if config.IdleTimeout <= 0 {
		config.IdleTimeout = time.Hour
	}
	if config.MaxConns <= 0 {
		config.MaxConns = 10000
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	dialer := net.Dialer{Timeout: config.DialTimeout}
	dialer.SetMultipathTCP(false) // Multipath TCP sockets do not splice
	force, kill := context.WithCancel(context.Background())
	return &Proxy{
		config: config, dialer: dialer, log: config.Logger, places: make(chan struct{}, config.MaxConns), force: force, kill: kill,
	}, nil
}

// Serve forwards client, which connected to local, until it ends, and closes it. The end of ctx aborts it.
func (p *Proxy) Serve(ctx context.Context, client net.Conn, local netip.AddrPort) {
	start := time.Now()
	stats := Stats{Local: local, End: Stopped}
	if p.enter() {
		p.serve(ctx, client, &stats)
		p.running.Done()
	}
	if stats.End != Finished {
		abort(client) // a FIN would make a truncated stream look complete
	}
	_ = client.Close() // it may be closed already
	stats.Duration = time.Since(start)
	if p.config.OnEnd != nil {
		p.config.OnEnd(stats)
	}
}

// enter counts a connection as running. It returns false if the proxy has been shut down.
func (p *Proxy) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	p.running.Add(1)
	return true
}

func (p *Proxy) serve(ctx context.Context, client net.Conn, stats *Stats) {
	select {
	case p.places <- struct{}{}:
		defer func() { <-p.places }()
	default:
		stats.End = Crowded
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.force, cancel)()
	app, err := p.dial(ctx, stats.Local)
	if err != nil {
		if stats.End = Unreachable; ctx.Err() != nil {
			stats.End = Stopped
			return
		}
		p.log.Warn("passing TCP through", "error", err)
		return
	}
	defer app.Close()
	pipe := newPipe(socket(client), app, p.config.IdleTimeout)
	pipe.run(ctx)
	stats.FromClient, stats.ToClient, stats.End = pipe.fromClient.Load(), pipe.toClient.Load(), pipe.end
}

func (p *Proxy) dial(ctx context.Context, local netip.AddrPort) (net.Conn, error) {
	target := p.config.Target(local)
	app, err := p.dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, fmt.Errorf("connecting to the app for %s: %w", local, err)
	}
	return app, nil
}

// Shutdown accepts no more connections and waits until the running ones have ended. The end of ctx aborts those and is returned.
func (p *Proxy) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		p.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		p.kill()
		return nil
	case <-ctx.Done():
		p.kill()
		<-done
		return ctx.Err()
	}
}

// socket returns conn's TCP socket if it wraps one with a TCP method, because only sockets splice.
func socket(conn net.Conn) net.Conn {
	if c, ok := conn.(interface{ TCP() *net.TCPConn }); ok {
		return c.TCP()
	}
	return conn
}

// abort makes conn's close send an RST.
func abort(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(sec int) error }); ok {
		_ = c.SetLinger(0) // closed already
	}
}
