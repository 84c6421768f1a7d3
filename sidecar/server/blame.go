package server

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/posterndev/postern/sidecar/httpkit/httperr"
)

// blame tells an HTTP/1.1 client that has left from one whose body is refused. net/http ends a request's context after every failed read
// of its connection, also if the client was too slow or its framing is malformed, and then nobody could tell it why.
type blame struct {
	mu sync.Mutex
	// idle is signalled when reading becomes 0.
	idle *sync.Cond
	// reading counts the reads of the body in progress.
	reading int
	// refused says that a read failed, and the client is still there.
	refused bool
}

func newBlame() *blame {
	b := &blame{}
	b.idle = sync.NewCond(&b.mu)
	return b
}

// client returns a context with the values of parent, which ends when the client leaves. release frees it.
func (b *blame) client(parent context.Context) (ctx context.Context, release func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		if b.left() {
			cancel()
		}
	})
	return ctx, func() { stop(); cancel() }
}

// left reports why the parent ended. A read in progress is about to fail for the same reason, or because the connection is closed, so
// its result is awaited.
func (b *blame) left() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.reading > 0 {
		b.idle.Wait()
	}
	return !b.refused
}

func (b *blame) begin() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading++
}

// end records the result of a read.
func (b *blame) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var refusal *httperr.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &refusal) {
		b.refused = true
	}
	if b.reading--; b.reading == 0 {
		b.idle.Broadcast()
	}
}
