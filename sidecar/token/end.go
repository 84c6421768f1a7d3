package token

import (
	"context"
	"fmt"

	"github.com/posterndev/postern/sidecar/session"
)

// EndPresented ends the session that a refresh token belongs to, and reports whether there was one. A token that only looks
// like one of the session's ends nothing.
func (d *Desk) EndPresented(ctx context.Context, refreshToken string) (bool, error) {
	presented, err := session.ParseRefresh(refreshToken)
	if err != nil {
		return false, nil
	}
	// A rotation tells whether the token is of the family; the device does not matter for leaving.
	rotated, err := d.cfg.Sessions.Rotate(ctx, session.Rotation{
		Presented: presented, Salt: session.NewSalt(), Grace: d.cfg.Grace, Bind: session.BindNone,
	})
	if err != nil {
		return false, fmt.Errorf("finding session: %w", err)
	}
	if rotated.Outcome == session.OutcomeUnknown {
		return false, nil
	}
	if _, err := d.End(ctx, presented.ID); err != nil {
		return false, err
	}
	return rotated.Outcome != session.OutcomeExpired, nil
}

func (d *Desk) observe(event, result string) {
	if d.cfg.Observer != nil {
		d.cfg.Observer.TokenEvent(event, result)
	}
}
