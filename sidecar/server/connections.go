package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/posterndev/postern/api/compiled"
	"github.com/posterndev/postern/sidecar/conn/capacity"
	http1 "github.com/posterndev/postern/sidecar/conn/http1/server"
)

// connectionMemory is the memory that one connection without a request may need, in bytes. Measured are 4 KiB between two requests of HTTP/1.1, and
// 17 KiB in the moment after one, 26 KiB between two of HTTP/2, 15 KiB more with TLS, and 68 KiB for one that has sent
// all of the largest head but its end: of these a client has at most its share, and they close first.
const connectionMemory = 64 << 10

// reservedFiles are the file descriptors that are not for connections of clients: the admin port, documents, Redis,
// Vault and key sets. A connection with a request in progress needs a second one, for the app.
const reservedFiles = 512

// sweepInterval is the pause between two searches for connections that are idle for too long.
const sweepInterval = time.Second

// connections holds the places of the clients' connections.
type connections struct {
	*capacity.Limiter
	// most is the maximum that memory and file descriptors allow.
	most   int
	losses *losses
	logger *slog.Logger
}

// mostConnections returns how many connections fit into an amount of memory in bytes, and into a number of files.
func mostConnections(memory int64, files uint64) int {
	n := min(memory/connectionMemory, int64(max(files, 2*minLimit+reservedFiles)-reservedFiles)/2)
	return int(max(n, minLimit))
}

// newConnections returns the places of a process with an amount of memory in bytes and a number of files.
func newConnections(memory int64, files uint64, losses *losses, logger *slog.Logger) *connections {
	c := &connections{most: mostConnections(memory, files), losses: losses, logger: logger}
	c.Limiter = capacity.New(capacity.Config{Limits: c.limits(nil, nil), OnLoss: losses.add})
	return c
}

// limits returns the limits of a document. Without its section, or with zeros there, the limits follow from memory and
// files: one source gets at most half.
func (c *connections) limits(in *compiled.Connections, proxies []string) capacity.Limits {
	l := capacity.Limits{Max: min(c.most, maxLimit), IdleTimeout: compiled.DefaultIdleTimeout.Std()}
	if in != nil && in.Max > 0 {
		l.Max = min(in.Max, c.most)
	}
	l.MaxPerAddress = max(l.Max/2, 1)
	if in != nil {
		l.IdleTimeout = in.IdleTimeout.Std()
		if in.MaxPerAddress > 0 {
			l.MaxPerAddress = min(in.MaxPerAddress, l.Max)
		}
	}
	for _, cidr := range proxies {
		if p, err := netip.ParsePrefix(cidr); err == nil { // the document was checked
			l.Trusted = append(l.Trusted, p.Masked())
		}
	}
	return l
}

// apply applies a document's limits.
func (c *connections) apply(o *compiled.SidecarOptions) {
	limits := c.limits(o.Connections, o.TrustedProxies)
	if o.Connections != nil && o.Connections.Max > limits.Max {
		c.logger.Warn("connections.max is more than the sidecar's memory or file descriptors allow", "wanted", o.Connections.Max, "max", limits.Max)
	}
	c.Configure(limits)
}

// run closes connections that are idle for too long, and logs losses, until ctx ends.
func (c *connections) run(ctx context.Context) {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.Sweep()
			c.losses.log(time.Now())
		}
	}
}

// placeOf returns conn's place, looking through wrappers; nil if it has none.
func placeOf(conn net.Conn) *capacity.Place {
	for {
		switch c := conn.(type) {
		case interface{ Place() *capacity.Place }:
			return c.Place()
		case interface{ NetConn() net.Conn }:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// connState is http.Server.ConnState: net/http knows when every response of a connection was sent.
func connState(conn net.Conn, state http.ConnState) {
	if state != http.StateIdle {
		return
	}
	if p := placeOf(conn); p != nil {
		p.Unused()
	}
}

type placeKey struct{}

// placeContext is http.Server.ConnContext for a server whose connections have places.
func placeContext(ctx context.Context, conn net.Conn) context.Context {
	if p := placeOf(conn); p != nil {
		ctx = context.WithValue(ctx, placeKey{}, placed{p, conn})
	}
	return http1.ConnContext(ctx, conn)
}

// placed is a connection with its place.
type placed struct {
	*capacity.Place
	conn net.Conn
}

// withPlaces makes connections of HTTP/2 busy while next handles their requests.
func withPlaces(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := r.Context().Value(placeKey{}).(placed)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		p.Farewell(func() { goAway(p.conn) })
		p.Begin()
		defer p.End()
		if r.Context().Err() != nil {
			p.Unused() // the client reset the stream before this; net/http reported the connection's state before Begin
		}
		next.ServeHTTP(w, r)
	})
}

// farewellWrite bounds sending a farewell. A peer that does not read gets none.
const farewellWrite = time.Second

// goAwayFrame is GOAWAY with NO_ERROR and the highest stream: no stream is lost, and the peer opens no more (RFC 9113
// §6.8).
var goAwayFrame = [...]byte{0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0}

// goAway tells the peer of an HTTP/2 connection without streams that it will be closed. net/http writes whole frames
// there, so this frame is between two others.
func goAway(conn net.Conn) {
	_ = conn.SetWriteDeadline(time.Now().Add(farewellWrite)) // on an error the connection is closed already
	_, _ = conn.Write(goAwayFrame[:])
	_ = conn.SetWriteDeadline(time.Time{})
}

// openConnections creates the places of the clients' connections, and their metrics.
func (s *sidecar) openConnections() error {
	lost, err := newLosses(s.registry, s.cfg.Logger)
	if err != nil {
		return err
	}
	s.connections = newConnections(memoryLimit(), fileLimit(), lost, s.cfg.Logger)
	return registerConnections(s.registry, s.connections)
}
