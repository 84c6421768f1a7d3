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

// told is what a sidecar knows of ends: those of a session that began before a time.
type told struct {
	before time.Time
	err    error
}

func (w *told) ended(_ context.Context, _ string, began time.Time) (bool, error) {
	return began.Before(w.before), w.err
}

// TestKnownEnds: what a session's end is known by is when it began, whatever the store says or cannot say.
func TestKnownEnds(t *testing.T) {
	away := errors.New("away")
	tests := map[string]struct {
		// happens comes after the session was seen.
		happens func(*world, *told)
		allow   bool
		want    string
	}{
		"nothing":                         {happens: func(*world, *told) {}},
		"it was ended, and the store not": {happens: func(w *world, k *told) { k.before = w.now.Add(time.Microsecond) }, want: "session-ended"},
		"an earlier one was ended":        {happens: func(w *world, k *told) { k.before = w.now }},
		"nobody knows":                    {happens: func(_ *world, k *told) { k.err = away }},
		"ended, and the store is unavailable": {
			happens: func(w *world, k *told) { k.before, w.fail = w.now.Add(time.Microsecond), away }, allow: true, want: "session-ended",
		},
		"an earlier one, and the store is unavailable": {
			happens: func(w *world, k *told) { k.before, w.fail = w.now, away; w.advance(session.DefaultCacheFor) }, allow: true,
		},
		"the store is unavailable": {happens: func(w *world, _ *told) { w.fail = away; w.advance(session.DefaultCacheFor) }, want: "session-unavailable"},
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

// TestEveryExternalSessionIsWatched: also one of which nothing is known for want of the store.
func TestEveryExternalSessionIsWatched(t *testing.T) {
	for name, fail := range map[string]error{"known": nil, "not known": errors.New("away")} {
		k := &told{}
		w := newWorld(t, func(c *session.Config) { c.Ended, c.Watched, c.OnFailure = k.ended, k.ended, session.Allow })
		w.fail = fail
		var seen *request.Info
		w.want("", external("s1", "ada"), func(_ *http.Request, info *request.Info) { seen = info })
		if len(seen.Watches) != 1 || seen.Watches[0].Judge(t.Context()) != nil {
			t.Fatalf("%s: watches %+v", name, seen.Watches)
		}
		k.before = w.now.Add(time.Hour)
		if refusal := seen.Watches[0].Judge(t.Context()); refusal == nil || refusal.Code != "session-ended" {
			t.Errorf("%s, after its end: %v", name, refusal)
		}
	}
}
