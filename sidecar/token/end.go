package token

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/posterndev/postern/sidecar/revocation"
	"github.com/posterndev/postern/sidecar/session"
)

// End ends a session with its access tokens, and reports whether there was one.
func (d *Desk) End(ctx context.Context, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	if err := d.revoke(ctx, id); err != nil {
		return false, err
	}
	ended, err := d.cfg.Sessions.End(ctx, id)
	if err != nil {
		return false, fmt.Errorf("ending session: %w", err)
	}
	return ended, nil
}

// EndAll ends an owner's sessions, each with its access tokens, but the one with the id except (empty for none), and
// returns how many there were.
func (d *Desk) EndAll(ctx context.Context, owner session.Owner, except string) (int, error) {
	listed, err := d.cfg.Sessions.List(ctx, owner)
	if err != nil {
		return 0, fmt.Errorf("listing sessions: %w", err)
	}
	var ids []string
	for _, s := range listed {
		if s.ID != except {
			ids = append(ids, s.ID)
		}
	}
	if err := d.revoke(ctx, ids...); err != nil {
		return 0, err
	}
	ended, err := d.cfg.Sessions.EndAll(ctx, owner, except)
	if err != nil {
		return 0, fmt.Errorf("ending sessions: %w", err)
	}
	// Those that began in between are ended too; most often this revokes again what is revoked.
	return len(ended), d.revoke(ctx, ended...)
}

// EndOwned ends one of an owner's sessions, and reports false where it is not theirs or there is none.
func (d *Desk) EndOwned(ctx context.Context, owner session.Owner, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	s, err := d.cfg.Sessions.Get(ctx, id)
	if errors.Is(err, session.ErrEnded) || err == nil && s.Owner != owner {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("finding session: %w", err)
	}
	return d.End(ctx, id)
}

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

// List returns an owner's sessions, the last seen first.
func (d *Desk) List(ctx context.Context, owner session.Owner) ([]session.Session, error) {
	sessions, err := d.cfg.Sessions.List(ctx, owner)
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	return sessions, nil
}

// Active reports whether a session goes on.
func (d *Desk) Active(ctx context.Context, id string) (bool, error) {
	if !session.ValidID(id) {
		return false, nil
	}
	switch _, err := d.cfg.Sessions.Get(ctx, id); {
	case errors.Is(err, session.ErrEnded):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("finding session: %w", err)
	}
	return true, nil
}

// RevokeToken makes one access token of ours worthless everywhere, and leaves its session alone.
func (d *Desk) RevokeToken(ctx context.Context, id string, expires time.Time) error {
	entry := revocation.Entry{Kind: revocation.Token, Issuer: d.cfg.Issuer.cfg.Issuer, Value: id, Expires: expires.Add(retention)}
	if _, err := d.cfg.Revocations.Add(ctx, entry); err != nil {
		return fmt.Errorf("revoking token: %w", err)
	}
	return nil
}

// revoke makes sids' access tokens worthless everywhere. Sessions of outside issuers have none of ours; for them it does no
// harm.
func (d *Desk) revoke(ctx context.Context, sids ...string) error {
	if len(sids) == 0 {
		return nil
	}
	expires := d.cfg.Issuer.cfg.Now().Add(d.cfg.Issuer.cfg.Lifetime + retention)
	entries := make([]revocation.Entry, len(sids))
	for i, sid := range sids {
		entries[i] = revocation.Entry{Kind: revocation.Session, Issuer: d.cfg.Issuer.cfg.Issuer, Value: sid, Expires: expires}
	}
	if _, err := d.cfg.Revocations.Add(ctx, entries...); err != nil {
		return fmt.Errorf("revoking sessions: %w", err)
	}
	return nil
}

// What the Desk tries in the background: at most so many at once, for so long, with pauses between these.
const (
	maxLater               = 64
	laterFor               = 5 * time.Minute
	laterFirst, laterPause = 100 * time.Millisecond, 5 * time.Second
)

// revokeEnded revokes sessions that the store has ended by its own decision. Where it fails it is tried on in the background:
// nobody could ask for it again.
func (d *Desk) revokeEnded(ctx context.Context, sids ...string) error {
	err := d.revoke(ctx, sids...)
	if err == nil {
		return nil
	}
	select {
	case d.later <- struct{}{}:
		go d.revokeLater(context.WithoutCancel(ctx), sids)
	default:
		d.cfg.Logger.WarnContext(ctx, "access tokens of ended sessions stay good until they expire", "sessions", len(sids), "error", err)
	}
	return err
}

func (d *Desk) revokeLater(ctx context.Context, sids []string) {
	defer func() { <-d.later }()
	ctx, cancel := context.WithTimeout(ctx, laterFor)
	defer cancel()
	for wait := laterFirst; ; wait = min(2*wait, laterPause) {
		select {
		case <-ctx.Done():
			d.cfg.Logger.WarnContext(ctx, "access tokens of ended sessions stay good until they expire", "sessions", len(sids))
			return
		case <-time.After(wait):
		}
		if d.revoke(ctx, sids...) == nil {
			return
		}
	}
}

func (d *Desk) observe(event, result string) {
	if d.cfg.Observer != nil {
		d.cfg.Observer.TokenEvent(event, result)
	}
}
