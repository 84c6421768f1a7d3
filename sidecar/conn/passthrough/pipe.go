package passthrough

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// chunk is how many bytes are copied between two reads of the clock.
const chunk = 4 << 20

// pipe copies both ways between two connections. Idleness is found by read deadlines of a quarter of the timeout, which
// cost nothing while bytes flow and lose nothing: a splice that a deadline ends has written all that it has read.
type pipe struct {
	client, app          net.Conn
	idle, tick           time.Duration
	fromClient, toClient atomic.Int64
	start                time.Time
	moved                atomic.Int64 // when bytes were last seen to have moved, as time since start
	once                 sync.Once
	end                  End
}

func newPipe(client, app net.Conn, idle time.Duration) *pipe {
	return &pipe{client: client, app: app, idle: idle, tick: max(idle/4, time.Millisecond), start: time.Now(), end: Finished}
}

// run copies until both directions have ended, or one has failed, or ctx ends.
func (p *pipe) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { p.cut(Stopped) })()
	var back sync.WaitGroup
	back.Go(func() { p.copy(p.client, p.app, &p.toClient) })
	p.copy(p.app, p.client, &p.fromClient)
	back.Wait()
	p.once.Do(func() {}) // a cut from here on is not reported
}

// cut ends both directions immediately. The first cut sets the reason.
func (p *pipe) cut(end End) {
	p.once.Do(func() {
		p.end = end
		abort(p.client)
		abort(p.app)
		_ = p.client.Close()
		_ = p.app.Close()
	})
}

// copy copies src's bytes to dst until src ends, and passes that end on.
func (p *pipe) copy(dst, src net.Conn, count *atomic.Int64) {
	for {
		n, err := p.copyChunk(dst, src)
		if count.Add(n); n > 0 {
			p.moved.Store(int64(time.Since(p.start)))
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if closeWrite(dst) != nil {
				p.cut(Broken)
			}
			return
		case !errors.Is(err, os.ErrDeadlineExceeded):
			p.cut(Broken)
			return
		case time.Since(p.start)-time.Duration(p.moved.Load()) >= p.idle:
			p.cut(Idle)
			return
		}
	}
}

// copyChunk copies up to chunk bytes within one tick. Only a receiver that reads nothing for the idle timeout reaches the write
// deadline: the read deadline ends the chunk first, and what is left then is at most a kernel pipe's content. That
// content is lost with it, which is why the deadline is fatal.
func (p *pipe) copyChunk(dst, src net.Conn) (int64, error) {
	now := time.Now()
	if err := src.SetReadDeadline(now.Add(p.tick)); err != nil {
		return 0, err
	}
	if err := dst.SetWriteDeadline(now.Add(p.tick + p.idle)); err != nil {
		return 0, err
	}
	n, err := io.CopyN(dst, src, chunk)
	if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(now) >= p.tick+p.idle {
		p.cut(Idle)
		return n, net.ErrClosed
	}
	return n, err
}

// closeWrite passes an end of stream on; a connection that cannot be half-closed is closed.
func closeWrite(conn net.Conn) error {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return conn.Close()
}
