package session_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/posterndev/postern/sidecar/httpkit/request"
	"github.com/posterndev/postern/sidecar/login/session"
)

// told is what the sidecar knows of ended sessions: those that began before a time.
type told struct {
	before time.Time
	err    error
}

func (w *told) ended(_ context.Context, _ string, began time.Time) (bool, error) {
	return began.Before(w.before), w.err
}

// TestKnownEnds: a known end applies to sessions that began before it, independent of the store.
func TestKnownEnds(t *testing.T) {
	unavailable := errors.New("unavailable")
	tests := map[string]struct {
		// happens runs after the session was seen.
		happens func(*world, *told)
		allow   bool
		want    string
	}{
		"nothing":                       {happens: func(*world, *told) {}},
		"ended, but still in the store": {happens: func(w *world, k *told) { k.before = w.now.Add(time.Microsecond) }, want: "session-ended"},
		"an earlier session was ended":  {happens: func(w *world, k *told) { k.before = w.now }},
		"ends are unknown":              {happens: func(_ *world, k *told) { k.err = unavailable }},
		"ended, store unavailable": {
			happens: func(w *world, k *told) { k.before, w.fail = w.now.Add(time.Microsecond), unavailable }, allow: true, want: "session-ended",
		},
		"an earlier session was ended, store unavailable": {
			happens: func(w *world, k *told) { k.before, w.fail = w.now, unavailable; w.advance(session.DefaultCacheFor) }, allow: true,
		},
		"store unavailable": {happens: func(w *world, _ *told) { w.fail = unavailable; w.advance(session.DefaultCacheFor) }, want: "session-unavailable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := &told{}
			w := newWorld(t, func(c *session.Config) {
				c.Ended, c.Watched = k.ended, k.ended
				if tt.allow {
					c.OnFailure = session.Allow
				}
			})
			w.want("", external("s1", "ada"))
			tt.happens(w, k)
			w.want(tt.want, external("s1", "ada"))
		})
	}
}

// TestEveryExternalSessionIsWatched: also one that is unknown because the store is unavailable.
func TestEveryExternalSessionIsWatched(t *testing.T) {
	for name, fail := range map[string]error{"known": nil, "unknown": errors.New("unavailable")} {
		k := &told{}
		w := newWorld(t, func(c *session.Config) { c.Ended, c.Watched, c.OnFailure = k.ended, k.ended, session.Allow })
		w.fail = fail
		var seen *request.Info
		w.want("", external("s1", "ada"), func(_ *http.Request, info *request.Info) { seen = info })
		if len(seen.Watches) != 1 || seen.Watches[0].Ask(t.Context()) != nil {
			t.Fatalf("%s: watches %+v", name, seen.Watches)
		}
		k.before = w.now.Add(time.Hour)
		if refusal := seen.Watches[0].Ask(t.Context()); refusal == nil || refusal.Code != "session-ended" {
			t.Errorf("%s, after its end: %v", name, refusal)
		}
	}
}
