// Package sessionredis stores sessions in Redis, shared by all sidecars. Each operation is one script and one round trip, uses the
// clock of Redis, and sets the expiry of its keys.
package sessionredis

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/store/keyspace"
)

//go:embed prelude.lua
var prelude string

//go:embed create.lua
var createScript string

//go:embed rotate.lua
var rotateScript string

//go:embed touch.lua
var touchScript string

//go:embed end.lua
var endScript string

//go:embed end_all.lua
var endAllScript string

//go:embed list.lua
var listScript string

// Conn runs operations on Redis. The caller owns the connection.
type Conn interface {
	Do(ctx context.Context, f func(context.Context, goredis.UniversalClient) error) error
}

// Store is a session.Store. It is safe for concurrent use.
type Store struct {
	conn                                     Conn
	space                                    keyspace.Keyspace
	prefix                                   string
	most                                     session.Timeouts
	create, rotate, touch, end, endAll, list *goredis.Script
}

// New returns the store of scope, the policy's "namespace/name", on conn. The timeouts of existing sessions are limited by most.
func New(conn Conn, scope string, most session.Timeouts) *Store {
	s := build(conn, scope, prelude)
	s.most = most
	return s
}

// build returns a store whose scripts start with prelude.
func build(conn Conn, scope, prelude string) *Store {
	s := &Store{
		conn: conn, space: keyspace.New("session", scope),
		create: goredis.NewScript(prelude + createScript), rotate: goredis.NewScript(prelude + rotateScript),
		touch: goredis.NewScript(prelude + touchScript), list: goredis.NewScript(prelude + listScript),
		end: goredis.NewScript(prelude + endScript), endAll: goredis.NewScript(prelude + endAllScript),
	}
	id := session.NewID()
	s.prefix = strings.TrimSuffix(s.space.Key("id", id), id) // all ids have the same length
	return s
}

// args returns the arguments of a script: its own, and those of the prelude.
func (s *Store) args(own ...any) []any {
	return append(own, s.most.Idle.Microseconds(), s.most.Absolute.Microseconds())
}

// owner returns the key of a subject's sessions. It does not show the subject.
func (s *Store) owner(o session.Owner) string {
	return s.space.Key("owner", s.space.Hash(o.Issuer, o.Subject))
}

// Create implements session.Store.
func (s *Store) Create(ctx context.Context, n session.New) (session.Session, []string, error) {
	return s.begin(ctx, n, false, 0)
}

// Admit implements session.Store.
func (s *Store) Admit(ctx context.Context, n session.New, coalesce time.Duration) (session.Session, []string, error) {
	return s.begin(ctx, n, true, coalesce)
}

func (s *Store) begin(ctx context.Context, n session.New, admit bool, coalesce time.Duration) (session.Session, []string, error) {
	if err := n.Check(); err != nil {
		return session.Session{}, nil, err
	}
	authenticated := int64(0)
	if !n.Authenticated.IsZero() {
		authenticated = n.Authenticated.UnixMicro()
	}
	args := append([]any{
		s.prefix, n.ID, n.AbsoluteTimeout.Microseconds(), n.Cap(), n.WhenFull == session.Reject, admit, authenticated,
		coalesce.Microseconds(), session.CoalesceShare,
	}, encode(n)...)
	reply, err := s.run(ctx, s.create, []string{s.prefix + n.ID, s.owner(n.Owner)}, args...)
	if err != nil {
		return session.Session{}, nil, fmt.Errorf("creating session: %w", err)
	}
	switch reply.outcome {
	case "exists":
		return session.Session{}, nil, session.ErrExists
	case "full":
		return session.Session{}, nil, session.ErrFull
	case "ended":
		return session.Session{}, nil, session.ErrEnded
	}
	return reply.session, reply.more, nil
}

// Rotate implements session.Store.
func (s *Store) Rotate(ctx context.Context, r session.Rotation) (session.Rotated, error) {
	if err := r.Check(); err != nil {
		return session.Rotated{}, err
	}
	p := r.Presented
	reply, err := s.run(ctx, s.rotate, []string{s.prefix + p.ID},
		s.prefix, p.ID, text(p.Proof()), text(p.Hash()), text(r.Salt), text(p.Next(r.Salt).Hash()), r.Grace.Microseconds(),
		boundField(r.Bind), r.Bind.Tie(r.Device), session.MaxRetried)
	if err != nil {
		return session.Rotated{}, fmt.Errorf("rotating refresh token: %w", err)
	}
	out := session.Rotated{Outcome: session.Outcome(reply.outcome), Session: reply.session}
	if out.Outcome == session.OutcomeRotated || out.Outcome == session.OutcomeRetried {
		salts, err := decodeSalts(reply.more)
		if err != nil {
			return session.Rotated{}, fmt.Errorf("rotating refresh token: %w", err)
		}
		out.Current = p.Follow(salts)
	}
	return out, nil
}

// Touch implements session.Store.
func (s *Store) Touch(ctx context.Context, id string, coalesce time.Duration) (session.Session, error) {
	return s.look(ctx, id, coalesce.Microseconds())
}

// Get implements session.Store.
func (s *Store) Get(ctx context.Context, id string) (session.Session, error) {
	return s.look(ctx, id, -1)
}

func (s *Store) look(ctx context.Context, id string, coalesce int64) (session.Session, error) {
	if !session.ValidID(id) {
		return session.Session{}, session.ErrEnded
	}
	reply, err := s.run(ctx, s.touch, []string{s.prefix + id}, s.prefix, id, coalesce, session.CoalesceShare)
	if err != nil {
		return session.Session{}, fmt.Errorf("looking up session: %w", err)
	}
	if reply.outcome == "ended" {
		return session.Session{}, session.ErrEnded
	}
	return reply.session, nil
}

// List implements session.Store.
func (s *Store) List(ctx context.Context, owner session.Owner) (list []session.Session, err error) {
	var reply []any
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		reply, err = s.list.Run(ctx, client, []string{s.owner(owner)}, s.args(s.prefix)...).Slice()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	for _, one := range reply {
		decoded, err := decode(one)
		if err != nil {
			return nil, fmt.Errorf("listing sessions: %w", err)
		}
		list = append(list, decoded)
	}
	session.SortBySeen(list)
	return list, nil
}

// End implements session.Store.
func (s *Store) End(ctx context.Context, id string) (ended bool, err error) {
	if !session.ValidID(id) {
		return false, nil
	}
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		ended, err = s.end.Run(ctx, client, []string{s.prefix + id}, s.args(s.prefix, id)...).Bool()
		return err
	})
	if err != nil {
		return false, fmt.Errorf("ending session: %w", err)
	}
	return ended, nil
}

// EndAll implements session.Store.
func (s *Store) EndAll(ctx context.Context, owner session.Owner, except string) (ids []string, err error) {
	err = s.conn.Do(ctx, func(ctx context.Context, client goredis.UniversalClient) (err error) {
		ids, err = s.endAll.Run(ctx, client, []string{s.owner(owner)}, s.args(s.prefix, except)...).StringSlice()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ending all sessions of a subject: %w", err)
	}
	return ids, nil
}
