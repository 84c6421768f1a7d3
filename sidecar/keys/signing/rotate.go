package signing

import (
	"context"
	"time"
)

// rotateClaim names the right to rotate, which one replica at a time has for claimTTL.
const (
	rotateClaim = "rotate"
	claimTTL    = time.Minute
)

// due reports whether the newest version is to be replaced. It is made Overlap ahead of its time, so that it signs when the
// interval is over.
func (r *Ring) due() bool {
	members := r.state.Load().members
	if r.cfg.Interval == 0 || len(members) == 0 {
		return false
	}
	newest := members[len(members)-1]
	return !newest.since.IsZero() && !r.cfg.Now().Before(newest.since.Add(r.cfg.Interval-r.cfg.Overlap))
}

// rotate has a new version made where one is due, and reports whether it was. Without a Registry nothing could keep
// replicas from each making one, so nothing is rotated and Status.Due says so.
func (r *Ring) rotate(ctx context.Context) bool {
	if r.cfg.Rotator == nil || r.cfg.Registry == nil || !r.due() {
		return false
	}
	mine, err := r.cfg.Registry.Claim(ctx, rotateClaim, claimTTL)
	if err != nil || !mine {
		return false // Status.Due tells, should it last
	}
	// Between this replica's reading and its claim another one may have rotated and its claim ended.
	if err := r.read(ctx); err != nil || !r.due() {
		return false
	}
	if err := r.cfg.Rotator.Rotate(ctx); err != nil {
		r.cfg.Logger.Warn("signing key cannot be rotated", "error", err)
		return false
	}
	r.cfg.Logger.Info("signing key rotated")
	return true
}
