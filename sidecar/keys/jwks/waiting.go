package jwks

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/posterndev/postern/sidecar/span"
)

// waiting limits how many requests wait for a load of a source, and for how long.
type waiting struct {
	limit time.Duration
	most  int64
	count atomic.Int64
}

// await waits until done is closed.
func (w *waiting) await(ctx context.Context, done <-chan struct{}) (err error) {
	select {
	case <-done:
		return nil
	default:
	}
	ctx, call := span.Start(ctx, "jwks")
	defer func() { call.End(err) }()
	defer w.count.Add(-1)
	if w.count.Add(1) > w.most {
		return unavailable(errors.New("too many requests are waiting for the key set"))
	}
	timer := time.NewTimer(w.limit)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return unavailable(errors.New("the key set is still being loaded"))
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

func unavailable(cause error) error {
	if cause == nil {
		return ErrUnavailable
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, cause)
}
