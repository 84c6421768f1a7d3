package passwordpolicy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/posterndev/postern/sidecar/keys/password"
)

// remember keeps the passwords that the app accepted. The response waits for it, so that the next request finds them at any replica. The
// app has changed the password already: if it cannot be kept, this is only logged.
func (h *History) remember(r *http.Request, changes []*change) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), rememberTime)
	defer cancel()
	for _, c := range changes {
		if err := h.add(ctx, c); err != nil {
			h.Logger.WarnContext(ctx, "an accepted password is not remembered", "error", err)
		}
	}
}

func (h *History) add(ctx context.Context, c *change) error {
	hash, err := "", error(nil)
	if h.Remember > 0 {
		hash, err = h.hash(ctx, c.password)
	}
	if err != nil {
		return err
	}
	return h.Store.Add(ctx, h.key(c.account), hash, h.Remember, h.MaxAge+keptLonger)
}

// hash waits while too many passwords are being hashed, until ctx ends.
func (h *History) hash(ctx context.Context, text string) (string, error) {
	for {
		encoded, err := h.Hasher.Hash(ctx, text)
		if !errors.Is(err, password.ErrBusy) || ctx.Err() != nil {
			return encoded, err
		}
		h.Sleep(ctx, password.RetryAfter(err))
		if ctx.Err() != nil {
			return "", err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
