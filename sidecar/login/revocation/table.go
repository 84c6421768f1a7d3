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

// key is a hash of kind, issuer and value under a seed that is secret to the process. Strings of any length take the same space,
// and nobody can construct a collision. A hit is verified by a second hash.
type key uint64

// record says until when a key is revoked, and for tokens issued before which time, both in microseconds since 1970.
type record struct {
	check           key
	expires, before int64
}

// always is the value of before for all kinds except Subject.
const always = math.MaxInt64

// sweepEvery is the minimum pause between removals of expired records, and sweepFull the one for a full table.
const (
	sweepEvery = time.Minute
	sweepFull  = time.Second
)

// table holds the revoked keys.
type table struct {
	seeds [2]maphash.Seed
	limit int
	count atomic.Int64
	// overflow says that some entries did not fit. Keys that are not in the table are then looked up in the store.
	overflow atomic.Bool

	mu      sync.RWMutex
	records map[key]record
	swept   time.Time
	// missed says that an entry did not fit since the last call of begin.
	missed bool
}

func newTable(limit int) *table {
	return &table{
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, limit: limit, records: map[key]record{},
	}
}

// inherit copies the content of another table into a new, unused one. If the other table overflowed, so does this one until it is
// complete.
func (t *table) inherit(from *table) {
	from.mu.RLock()
	defer from.mu.RUnlock()
	t.seeds, t.records = from.seeds, maps.Clone(from.records)
	t.count.Store(int64(len(t.records)))
	t.overflow.Store(from.overflow.Load())
}

// kindSalt makes the keys of two kinds differ for the same value.
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

// key hashes under the first seed, or under the second for the verification.
func (t *table) key(seed int, k Kind, issuer, value string) key {
	return salted(maphash.String(t.seeds[seed], issuer), k, maphash.String(t.seeds[seed], value))
}

// salted combines the hashes of issuer and value into a key. The rotation keeps the two from being interchangeable.
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

// makeRoom removes expired records if sweepFull has passed. The caller holds mu.
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

// sweep removes expired records if sweepEvery has passed. It does not block look-ups while it searches.
func (t *table) sweep(now time.Time) {
	var expired []key
	t.mu.RLock()
	due := now.Sub(t.swept) >= sweepEvery
	if due {
		for k, r := range t.records {
			if r.expires <= now.UnixMicro() {
				expired = append(expired, k)
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
	for _, k := range expired {
		if t.records[k].expires <= now.UnixMicro() {
			delete(t.records, k)
		}
	}
	t.count.Store(int64(len(t.records)))
}

// begin and complete enclose a load of the whole content. If all of it fits, the overflow ends.
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

// revoked looks a token up. It reads the clock only for a hit.
func (t *table) revoked(q *Query, now func() time.Time) bool {
	if t.count.Load() == 0 {
		return false
	}
	look := lookup{table: t, issuer: q.Issuer, hash: maphash.String(t.seeds[0], q.Issuer), now: now}
	return look.revoked(q)
}

// lookup is the look-up of one token.
type lookup struct {
	*table
	issuer string
	hash   uint64
	now    func() time.Time
	// reads is the number of records that were looked up.
	reads int
}

func (l *lookup) revoked(q *Query) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.hit(Token, q.TokenID, always-1) || l.hit(Session, q.Session, always-1) ||
		l.hit(Key, q.KeyID, always-1) || l.hit(Subject, q.Subject, q.issued())
}

// hit looks up one property of the token. The caller holds mu.
func (l *lookup) hit(k Kind, value string, issued int64) bool {
	if value == "" {
		return false
	}
	l.reads++
	r, ok := l.records[salted(l.hash, k, maphash.String(l.seeds[0], value))]
	return ok && r.check == l.key(1, k, l.issuer, value) && r.expires > l.now().UnixMicro() && issued < r.before
}
