package server

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/conn/websocket"
	"github.com/posterndev/postern/sidecar/httpkit/response"
)

// closeGrace is how long the two ends of a WebSocket may take to respond to the close frames after the drain.
const closeGrace = 2 * time.Second

// upgrades are the open upgraded connections, which http.Server.Shutdown does not know. The zero value has none.
type upgrades struct {
	mu   sync.Mutex
	open map[*websocket.Conn]struct{}
	// empty, if not nil, is closed when there is none left.
	empty chan struct{}
}

// track keeps the connections that next hijacks, until they are closed.
func (u *upgrades) track(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header["Upgrade"]) > 0 {
			w = &upgradeWriter{Writer: response.Writer{ResponseWriter: w}, upgrades: u}
		}
		next.ServeHTTP(w, r)
	})
}

// upgradeWriter keeps the connection when it is hijacked. The stage hopbyhop passes WebSocket only.
type upgradeWriter struct {
	response.Writer
	upgrades *upgrades
}

// Hijack hands the connection over.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := w.Writer.Hijack()
	if err != nil {
		return nil, nil, err
	}
	return w.upgrades.add(conn), buffered, nil
}

func (u *upgrades) add(conn net.Conn) *websocket.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	var c *websocket.Conn
	c = websocket.New(conn, func() { u.remove(c) })
	if u.open == nil {
		u.open = map[*websocket.Conn]struct{}{}
	}
	u.open[c] = struct{}{}
	return c
}

func (u *upgrades) remove(c *websocket.Conn) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, c)
	u.checkLocked()
}

func (u *upgrades) checkLocked() {
	if len(u.open) == 0 && u.empty != nil {
		close(u.empty)
		u.empty = nil
	}
}

// wait returns a channel that is closed when no connection is open.
func (u *upgrades) wait() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.empty == nil {
		u.empty = make(chan struct{})
	}
	done := u.empty
	u.checkLocked()
	return done
}

// shutdown waits until all connections have ended, or until ctx ends. Then it closes the remaining ones with close
// frames.
func (u *upgrades) shutdown(ctx context.Context) error {
	done := u.wait()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	u.mu.Lock()
	n := len(u.open)
	for c := range u.open {
		go c.GoAway(closeGrace)
	}
	u.mu.Unlock()
	timer := time.NewTimer(closeGrace + closeGrace/4)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C: // the proxy ends them
	}
	return fmt.Errorf("%d upgraded connections were still open at the end of drainTimeout", n)
}
