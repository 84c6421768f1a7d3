package framing

import (
	"bufio"
	"context"
	"net"
	"net/http"

	"github.com/posterndev/postern/test/differential/stdproxy/writer"
)

type key struct{}

// ConnContext is for http.Server.ConnContext. It stores the connection for From.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*Conn); ok {
		return context.WithValue(ctx, key{}, c)
	}
	return ctx
}

// From returns the inspected connection of a request's context, or nil.
func From(ctx context.Context) *Conn {
	c, _ := ctx.Value(key{}).(*Conn)
	return c
}

// Upgrades ends the inspection of a connection that next hijacks. next decides which upgrades it accepts: the stage
// hopbyhop passes only WebSocket.
func Upgrades(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Upgrade"]) > 0 {
			if conn := From(r.Context()); conn != nil {
				w = &hijackWriter{Writer: writer.Writer{ResponseWriter: w}, conn: conn}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// hijackWriter ends the inspection when its connection is hijacked.
type hijackWriter struct {
	writer.Writer
	conn *Conn
}

// Hijack hands the connection over. No read happens between the inner Hijack's return and this one's.
func (w *hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := w.Writer.Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn.Opaque()
	return conn, buffered, nil
}
