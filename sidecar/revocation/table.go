package revocation

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// key stands for kind, issuer and value: two hashes under seeds that nobody outside the process knows, so that strings of
// any length take the same room and nobody can make two of them meet.
type key [2]uint64

// record is until when a key is revoked, and for tokens issued before when; both in microseconds since 1970.
type record struct{ expires, before int64 }

// always is the before of every kind but Subject.
const always = math.MaxInt64

// sweepEvery is the least pause between two looks for what has expired, and sweepFull the one where there is no room.
const (
	sweepEvery = time.Minute
	sweepFull  = time.Second
)

// table holds the revoked keys.
type table struct {
	seeds [2]maphash.Seed
	limit int
	count atomic.Int64
	// overflow says that there was no room for some entries; who is not in the table is then asked for in the store.
	overflow atomic.Bool

	mu      sync.RWMutex
	records map[key]record
	swept   time.Time
	// missed says that there was no room since the last call of begin.
	missed bool
}

func newTable(limit int) *table {
	return &table{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, limit: limit, records: map[key]record{},
	}
}

// kindSalt makes the same value of two kinds two keys.
func kindSalt(k Kind) uint64 {
	switch k {
	case Token:
		return 0x9e3779b97f4a7c15
	case Session:
		return 0xbf58476d1ce4e5b9
	case Subject:
		return 0x94d049bb133111eb
	default:
		return 0xd6e8feb86659fd93
	}
}

// issuerHash is the part of a key that is the same for all of an issuer's.
func (t *table) issuerHash(issuer string) key {
	a, b := maphash.String(t.seeds[1], issuer), maphash.String(t.seeds[0], issuer)
	return key{a<<31 | a>>33, b<<17 | b>>47}
}

func (t *table) key(k Kind, issuer key, value string) key {
	salt := kindSalt(k)
	return key{
		maphash.String(t.seeds[0], value) ^ issuer[0] ^ salt,
		maphash.String(t.seeds[1], value) + issuer[1] + salt,
	}
}

// add merges entries into the table.
func (t *table) add(entries []Entry, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		if !e.Expires.After(now) {
			continue
		}
		r := record{expires: e.Expires.UnixMicro(), before: always}
		if e.Kind == Subject {
			r.before = e.Before.UnixMicro()
		}
		k := t.key(e.Kind, t.issuerHash(e.Issuer), e.Value)
		old, known := t.records[k]
		if !known && len(t.records) >= t.limit && !t.makeRoom(now) {
			t.missed = true
			t.overflow.Store(true)
			continue
		}
		t.records[k] = record{expires: max(r.expires, old.expires), before: max(r.before, old.before)}
	}
	t.count.Store(int64(len(t.records)))
}

// makeRoom removes what has expired, if it is time to; mu is locked.
func (t *table) makeRoom(now time.Time) bool {
	if now.Sub(t.swept) < sweepFull {
		return false
	}
	t.swept = now
	for k, r := range t.records {
		if r.expires <= now.UnixMicro() {
			delete(t.records, k)
		}
	}
	return len(t.records) < t.limit
}

// sweep removes what has expired, if it is time to. Look-ups go on while it searches.
func (t *table) sweep(now time.Time) {
	var dead []key
	t.mu.RLock()
	due := now.Sub(t.swept) >= sweepEvery
	if due {
		for k, r := range t.records {
			if r.expires <= now.UnixMicro() {
				dead = append(dead, k)
			}
		}
	}
	t.mu.RUnlock()
	if !due {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.swept = now
	for _, k := range dead {
		if t.records[k].expires <= now.UnixMicro() {
			delete(t.records, k)
		}
	}
	t.count.Store(int64(len(t.records)))
}

// begin and complete stand around a load of everything: if there was room for all of it, the table is whole again.
func (t *table) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missed = false
}

func (t *table) complete() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.overflow.Store(t.missed)
}

// revoked looks a token up.
func (t *table) revoked(q *Query, now int64) bool {
	if t.count.Load() == 0 {
		return false
	}
	issuer := t.issuerHash(q.Issuer)
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.hit(Token, issuer, q.TokenID, now, always-1) || t.hit(Session, issuer, q.Session, now, always-1) ||
		t.hit(Key, issuer, q.KeyID, now, always-1) || t.hit(Subject, issuer, q.Subject, now, q.issued())
}

func (t *table) hit(k Kind, issuer key, value string, now, issued int64) bool {
	if value == "" {
		return false
	}
	r, ok := t.records[t.key(k, issuer, value)]
	return ok && r.expires > now && issued < r.before
}
