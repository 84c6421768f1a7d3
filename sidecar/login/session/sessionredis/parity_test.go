package sessionredis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/session/sessionmemory"
	"github.com/posterndev/postern/sidecar/store/redistest"
)

// twins are two stores that get the same calls.
type twins struct {
	t      *testing.T
	random *rand.Rand
	redis  *clocked
	memory *sessionmemory.Store
	tokens []session.Refresh
	ids    []string
}

// TestMemoryDecidesAsRedisDoes makes the same random calls to both stores.
func TestMemoryDecidesAsRedisDoes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.Options{})
	w := &twins{t: t, random: rand.New(rand.NewPCG(7, 11)), redis: newClocked(t, connect(t, standalone(server)), server, "test/parity")}
	w.memory = sessionmemory.New(sessionmemory.Config{Now: func() time.Time { return w.redis.now }})
	outcomes := map[string]int{}
	for step := range 2500 {
		w.redis.Advance(w.pause())
		outcome := w.step(step)
		outcomes[outcome]++
	}
	for _, want := range []string{
		"rotated", "retried", "reused", "bound", "expired", "unknown", "create", "create: full", "admit", "admit: ended", "touch", "touch: ended", "end", "end all",
	} {
		if outcomes[want] == 0 {
			t.Errorf("no step had the outcome %q: %v", want, outcomes)
		}
	}
}

func (w *twins) pause() time.Duration {
	return []time.Duration{time.Microsecond, time.Second, 7 * time.Second, time.Minute, 20 * time.Minute}[w.random.IntN(5)]
}

func (w *twins) owner() session.Owner {
	return session.Owner{Issuer: []string{"", "i"}[w.random.IntN(2)], Subject: fmt.Sprint("user", w.random.IntN(2))}
}

func (w *twins) new() session.New {
	return session.New{
		ID: session.NewID(), Owner: w.owner(), Device: w.device(),
		Limits: session.Limits{
			IdleTimeout: time.Duration(10+w.random.IntN(90)) * time.Minute, AbsoluteTimeout: time.Duration(1+w.random.IntN(4)) * time.Hour,
			MaxPerSubject: 2 + w.random.IntN(3), WhenFull: []session.WhenFull{session.EvictOldest, session.Reject}[w.random.IntN(2)],
		},
	}
}

func (w *twins) device() session.Device {
	return session.NewDevice([]string{"a/1 (x)", "b/2 (y)"}[w.random.IntN(2)], netip.AddrFrom4([4]byte{192, 0, 2, byte(w.random.IntN(2))}))
}

func (w *twins) id() string {
	if len(w.ids) == 0 {
		return session.NewID()
	}
	return w.ids[len(w.ids)-1-w.random.IntN(min(len(w.ids), 6))]
}

// step makes one call to both stores and compares the results.
func (w *twins) step(step int) string {
	ctx := w.t.Context()
	type response struct {
		what    any
		ids     []string
		err     error
		outcome string
	}
	ask := func(name string, question func(session.Store) response) string {
		a, b := question(w.redis), question(w.memory)
		if !reflect.DeepEqual(a.what, b.what) || !reflect.DeepEqual(a.ids, b.ids) && len(a.ids)+len(b.ids) > 0 || !errors.Is(a.err, b.err) || a.outcome != b.outcome {
			w.t.Fatalf("step %d, %s:\nredis  %+v\nmemory %+v", step, name, a, b)
		}
		switch {
		case errors.Is(b.err, session.ErrFull):
			return name + ": full"
		case errors.Is(b.err, session.ErrEnded):
			return name + ": ended"
		case b.err != nil:
			w.t.Fatal(b.err)
		case b.outcome != "":
			return b.outcome
		}
		return name
	}
	switch w.random.IntN(12) {
	case 0, 1:
		n := w.new()
		n.Refresh = session.NewRefresh(n.ID)
		w.tokens, w.ids = append(w.tokens, n.Refresh), append(w.ids, n.ID)
		return ask("create", func(s session.Store) response { got, ids, err := s.Create(ctx, n); return response{got, ids, err, ""} })
	case 2, 3:
		n := w.new()
		n.ID = session.ExternalID("i", fmt.Sprint(w.random.IntN(6)))
		w.ids = append(w.ids, n.ID)
		if w.random.IntN(4) == 0 {
			n.Authenticated = w.redis.now.Add(-w.pause())
		}
		return ask("admit", func(s session.Store) response {
			got, ids, err := s.Admit(ctx, n, time.Minute)
			return response{got, ids, err, ""}
		})
	case 4:
		id := w.id()
		return ask("touch", func(s session.Store) response {
			got, err := s.Touch(ctx, id, time.Minute)
			return response{got, nil, err, ""}
		})
	case 5:
		owner := w.owner()
		return ask("list", func(s session.Store) response { got, err := s.List(ctx, owner); return response{got, nil, err, ""} })
	case 6:
		if w.random.IntN(3) > 0 {
			return "none"
		}
		id := w.id()
		return ask("end", func(s session.Store) response { got, err := s.End(ctx, id); return response{got, nil, err, ""} })
	case 7:
		if w.random.IntN(5) > 0 {
			return "none"
		}
		owner, except := w.owner(), w.id()
		return ask("end all", func(s session.Store) response {
			ids, err := s.EndAll(ctx, owner, except)
			return response{nil, ids, err, ""}
		})
	default:
		if len(w.tokens) == 0 {
			return "none"
		}
		r := session.Rotation{
			Presented: w.tokens[len(w.tokens)-1-w.random.IntN(min(len(w.tokens), 5))], Salt: session.NewSalt(),
			Grace: time.Duration(w.random.IntN(3)) * 10 * time.Second, Bind: session.BindNone, Device: w.device(),
		}
		if w.random.IntN(4) == 0 {
			r.Bind = []session.Bind{session.BindUserAgent, session.BindAddress}[w.random.IntN(2)]
		}
		var current session.Refresh
		outcome := ask("rotate", func(s session.Store) response {
			got, err := s.Rotate(ctx, r)
			current = got.Current
			got.Session.Claims = nil
			return response{got, nil, err, string(got.Outcome)}
		})
		if outcome == string(session.OutcomeRotated) {
			w.tokens = append(w.tokens, current)
		}
		return outcome
	}
}
