package revocation

import (
	"hash/maphash"
	"maps"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// key stands for kind, issuer and value: a hash under a seed that nobody outside the process knows, so that strings of any
// length take the same room and nobody can make two of them meet. A hit is checked by a second hash.
type key uint64

// record is until when a key is revoked, and for tokens issued before when; both in microseconds since 1970.
type record struct {
	check           key
	expires, before int64
}

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

// inherit begins with what another table holds; the table is new, and nobody uses it yet. For what that had no room for the
// store is asked, until this one is whole.
func (t *table) inherit(from *table) {
	from.mu.RLock()
	defer from.mu.RUnlock()
	t.seeds, t.records = from.seeds, maps.Clone(from.records)
	t.count.Store(int64(len(t.records)))
	t.overflow.Store(from.overflow.Load())
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

// key hashes under the first seed, or for the check under the second.
func (t *table) key(seed int, k Kind, issuer, value string) key {
	return salted(maphash.String(t.seeds[seed], issuer), k, maphash.String(t.seeds[seed], value))
}

// salted is a key of the hashes of issuer and value. The rotation keeps the two apart.
func salted(issuer uint64, k Kind, value uint64) key {
	return key(bits.RotateLeft64(issuer, 31) ^ value ^ kindSalt(k))
}

// add merges entries into the table.
func (t *table) add(entries []Entry, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range entries {
		if !e.Expires.After(now) {
			continue
		}
		r := record{check: t.key(1, e.Kind, e.Issuer, e.Value), expires: e.Expires.UnixMicro(), before: always}
		if e.Kind == Subject {
			r.before = e.Before.UnixMicro()
		}
		k := t.key(0, e.Kind, e.Issuer, e.Value)
		old, known := t.records[k]
		if known && old.check != r.check || !known && len(t.records) >= t.limit && !t.makeRoom(now) {
			t.missed = true
			t.overflow.Store(true)
			continue
		}
		r.expires, r.before = max(r.expires, old.expires), max(r.before, old.before)
		t.records[k] = r
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

// revoked looks a token up. The clock is read for a hit alone.
func (t *table) revoked(q *Query, now func() time.Time) bool {
	if t.count.Load() == 0 {
		return false
	}
	look := lookup{table: t, issuer: q.Issuer, hash: maphash.String(t.seeds[0], q.Issuer), now: now}
	t.mu.RLock()
	found := look.hit(Token, q.TokenID, always-1) || look.hit(Session, q.Session, always-1) ||
		look.hit(Key, q.KeyID, always-1) || look.hit(Subject, q.Subject, q.issued())
	t.mu.RUnlock()
	return found
}

// lookup is one token's; mu is locked.
type lookup struct {
	*table
	issuer string
	hash   uint64
	now    func() time.Time
}

func (l *lookup) hit(k Kind, value string, issued int64) bool {
	if value == "" {
		return false
	}
	r, ok := l.records[salted(l.hash, k, maphash.String(l.seeds[0], value))]
	return ok && r.check == l.key(1, k, l.issuer, value) && r.expires > l.now().UnixMicro() && issued < r.before
}
