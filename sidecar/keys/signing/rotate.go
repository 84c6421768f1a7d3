package signing

import (
	"context"
	"time"
)

// rotateClaim is the name of the claim for rotations. One replica at a time has it, for claimTTL.
const (
	rotateClaim = "rotate"
	claimTTL    = time.Minute
)

// due reports whether the newest version must be replaced. The new one is created Overlap before the interval ends, so that it signs
// when the interval ends.
func (r *Ring) due() bool {
	members := r.state.Load().members
	if r.cfg.Interval == 0 || len(members) == 0 {
		return false
	}
	newest := members[len(members)-1]
	return !newest.since.IsZero() && !r.cfg.Now().Before(newest.since.Add(r.cfg.Interval-r.cfg.Overlap))
}

// rotate creates a new version if one is due, and reports whether it did. Without a Registry each replica would create one, so
// nothing is rotated and Status.Due is set.
func (r *Ring) rotate(ctx context.Context) bool {
	if r.cfg.Rotator == nil || r.cfg.Registry == nil || !r.due() {
		return false
	}
	mine, err := r.cfg.Registry.Claim(ctx, rotateClaim, claimTTL)
	if err != nil || !mine {
		return false // Status.Due shows it if this persists
	}
	// Between this replica's read and its claim, another replica may have rotated the key.
	if err := r.read(ctx); err != nil || !r.due() {
		return false
	}
	if err := r.cfg.Rotator.Rotate(ctx); err != nil {
		r.cfg.Logger.Warn("rotating signing key failed", "error", err)
		return false
	}
	r.cfg.Logger.Info("signing key rotated")
	return true
}
