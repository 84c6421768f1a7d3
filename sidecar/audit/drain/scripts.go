package drain

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/audit/stream"
)

var (
	//go:embed reject.lua
	rejectScript string
	//go:embed settle.lua
	settleScript string
	//go:embed observe.lua
	observeScript string
)

type scripts struct{ reject, settle, observe *goredis.Script }

func newScripts() scripts {
	return scripts{reject: goredis.NewScript(rejectScript), settle: goredis.NewScript(settleScript), observe: goredis.NewScript(observeScript)}
}

// MaxRejected bounds the rejected entries that are kept of a namespace, about.
const MaxRejected = 1000

// settle removes entries that are in the database.
func (w *worker) settle(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	args := []any{Group}
	for _, id := range ids {
		args = append(args, id)
	}
	err := w.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		return w.drain.scripts.settle.Run(ctx, client, []string{w.key}, args...).Err()
	})
	if err != nil {
		return fmt.Errorf("removing written entries: %w", err)
	}
	return nil
}

// reject moves an entry aside. It reports whether its fields are kept.
func (w *worker) reject(ctx context.Context, r rejected) (kept bool, err error) {
	args := []any{Group, r.message.ID, MaxRejected, stream.Expiry.Milliseconds(), "id", r.message.ID, "reason", r.cause.Error()}
	for _, name := range []string{"kind", "retain", "payload"} {
		value, _ := r.message.Values[name].(string)
		args = append(args, name, value[:min(len(value), stream.MaxPayload)])
	}
	err = w.do(ctx, func(ctx context.Context, client goredis.UniversalClient) error {
		n, err := w.drain.scripts.reject.Run(ctx, client, []string{w.key, stream.RejectedKey(w.namespace)}, args...).Int64()
		kept = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("moving an entry aside: %w", err)
	}
	return kept, nil
}

// observe updates the metrics of the stream.
func (w *worker) observe(ctx context.Context) error {
	var is []int64
	err := w.do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		is, err = w.drain.scripts.observe.Run(ctx, client, []string{w.key}, Group, w.drain.idle.Milliseconds()).Int64Slice()
		return err
	})
	if err != nil {
		return fmt.Errorf("looking at a stream: %w", err)
	}
	if len(is) == 4 {
		w.drain.cfg.Metrics.observe(w.namespace, is[0], is[1], time.Duration(is[2])*time.Millisecond, is[3])
	}
	return nil
}

func (w *worker) do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error {
	return w.drain.cfg.Conn.Do(ctx, f)
}
