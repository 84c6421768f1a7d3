package framing

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
)

type key struct{}

// ConnContext is for http.Server.ConnContext: it makes a request's connection known to From.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*Conn); ok {
		return context.WithValue(ctx, key{}, c)
	}
	return ctx
}

// From returns the watched connection of a request's context, or nil.
func From(ctx context.Context) *Conn {
	c, _ := ctx.Value(key{}).(*Conn)
	return c
}

// Upgrades lets next hijack connections for WebSocket: the watch ends when it does. An offer of any other protocol is
// ignored, as a server may (RFC 9110 §7.8): once the app had accepted h2c or TLS, requests inside the tunnel would pass
// unseen, with identity headers and all.
func Upgrades(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if offers := r.Header["Upgrade"]; len(offers) > 0 {
			if conn := From(r.Context()); len(offers) > 1 || !strings.EqualFold(offers[0], "websocket") {
				r.Header.Del("Upgrade")
				r.Header.Del("HTTP2-Settings")
			} else if conn != nil {
				w = &hijackWriter{ResponseWriter: w, conn: conn}
			}
		}
		next.ServeHTTP(w, r)
	})
}

// hijackWriter ends the watch when its connection is hijacked.
type hijackWriter struct {
	http.ResponseWriter
	conn *Conn
}

// Unwrap is for http.ResponseController.
func (w *hijackWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack hands the connection over. Nobody reads from it between the inner Hijack's return and this one's.
func (w *hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn.Opaque()
	return conn, buffered, nil
}
