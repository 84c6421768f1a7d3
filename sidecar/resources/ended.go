package resources

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/posterndev/postern/sidecar/login/revocation"
	"github.com/posterndev/postern/sidecar/login/session"
	"github.com/posterndev/postern/sidecar/login/token"
	"github.com/posterndev/postern/sidecar/stages/apikey"
)

// Revocations are the revocations of the active snapshot, and its files of API keys and users. Responses that are still streaming in older snapshots are
// checked against them.
type Revocations struct {
	// Tokens is empty in revocation shadow mode, and Sessions, for the sessions of external issuers, in session shadow mode.
	Tokens, Sessions revocation.Current
	// Recorded holds all of them in every mode.
	Recorded revocation.Current
	// Files are those of API keys and users.
	Files apikey.Current
}

// Activation is what a snapshot changes outside of itself when it becomes active.
type Activation struct {
	// Tokens, Sessions and Recorded replace the fields of Revocations.
	Tokens, Sessions, Recorded revocation.Known
	Timeouts                   session.Timeouts
	// Revoker ends the sessions that Listed, the document's revocations, names. It is nil if no sessions are to be
	// ended.
	Revoker *token.Revoker
	Listed  []revocation.Entry
	// Files judge responses in progress; nil if nothing does.
	Files *apikey.Files
}

// Activate is called once for each snapshot that becomes active. It ends sessions in the background until all are
// ended or stop is called. The caller calls stop.
func (r *Resources) Activate(a Activation) (stop func()) {
	r.active.Tokens.Set(a.Tokens)
	r.active.Sessions.Set(a.Sessions)
	r.active.Recorded.Set(a.Recorded)
	r.active.Files.Set(a.Files)
	r.sessions.Hold(a.Timeouts)
	ctx, cancel := context.WithCancel(context.Background())
	if a.Revoker != nil {
		go r.endRevoked(ctx, a.Revoker, r.ended.missing(a.Listed))
	}
	return cancel
}

// endRetry is the pause after a store was unavailable.
const endRetry = 2 * time.Second

// endRevoked ends sessions until all are ended. They cannot be used or refreshed in the meantime.
func (r *Resources) endRevoked(ctx context.Context, revoker *token.Revoker, missing []revocation.Entry) {
	for logged := false; len(missing) > 0; pause(ctx, endRetry/2+rand.N(endRetry)) {
		var err error
		if missing, err = r.endEach(ctx, revoker, missing); ctx.Err() != nil {
			return
		}
		if err != nil && !logged {
			r.cfg.Logger.Warn("ending revoked sessions failed, retrying", "left", len(missing), "error", err)
			logged = true
		}
	}
}

// endEach returns the entries that failed, and the error of the last of them. A session that cannot be read does not
// stop the others.
func (r *Resources) endEach(ctx context.Context, revoker *token.Revoker, entries []revocation.Entry) (failed []revocation.Entry, last error) {
	for _, entry := range entries {
		if err := revoker.EndSessions(ctx, entry); err != nil {
			failed, last = append(failed, entry), err
		} else {
			r.ended.add(entry)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return failed, last
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// endedSessions remembers for which of the document's revocations the sessions were ended, so that a new document
// does not repeat it.
type endedSessions struct {
	mu   sync.Mutex
	done map[revocation.Entry]bool
}

func newEndedSessions() *endedSessions { return &endedSessions{done: map[revocation.Entry]bool{}} }

// missing forgets what is not in entries, and returns those that are not done.
func (e *endedSessions) missing(entries []revocation.Entry) []revocation.Entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	kept, missing := map[revocation.Entry]bool{}, []revocation.Entry(nil)
	for _, entry := range entries {
		if e.done[entry] {
			kept[entry] = true
			continue
		}
		missing = append(missing, entry)
	}
	e.done = kept
	return missing
}

func (e *endedSessions) add(entry revocation.Entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done[entry] = true
}
