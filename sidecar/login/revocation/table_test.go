package revocation

import (
	"fmt"
	"hash/maphash"
	"testing"
	"time"
)

func tokens(from, to int, expires time.Time) (entries []Entry) {
	for i := from; i < to; i++ {
		entries = append(entries, Entry{Kind: Token, Issuer: "i", Value: fmt.Sprint(i), Expires: expires})
	}
	return entries
}

func TestTableRemovesExpired(t *testing.T) {
	now := time.Now()
	table := newTable(100)
	table.add(tokens(0, 50, now.Add(time.Second)), now)
	table.add(tokens(50, 60, now.Add(time.Hour)), now)
	table.sweep(now) // the first sweep is due at once
	now = now.Add(2 * time.Second)
	table.sweep(now)
	if n := table.count.Load(); n != 60 {
		t.Errorf("%d entries; want no second sweep within %s", n, sweepEvery)
	}
	now = now.Add(sweepEvery)
	table.sweep(now)
	if n := table.count.Load(); n != 10 || len(table.records) != 10 {
		t.Errorf("%d entries; want ten", n)
	}
}

func TestTableMakesRoom(t *testing.T) {
	now := time.Now()
	table := newTable(10)
	table.add(tokens(0, 10, now.Add(time.Minute)), now)
	now = now.Add(2 * time.Minute)
	table.add(tokens(10, 20, now.Add(time.Minute)), now)
	if table.overflow.Load() || table.count.Load() != 10 {
		t.Errorf("overflow %v with %d entries; want expired entries to make room", table.overflow.Load(), table.count.Load())
	}
	table.add(tokens(20, 21, now.Add(time.Minute)), now)
	if !table.overflow.Load() {
		t.Error("an entry without room did not set overflow")
	}
	// A load that finds room for everything ends the overflow.
	now = now.Add(2 * time.Minute)
	table.begin()
	table.add(tokens(30, 35, now.Add(time.Minute)), now)
	table.complete()
	if table.overflow.Load() {
		t.Error("the table has everything and still reports overflow")
	}
}

func TestEntriesOfOneKeyAreMerged(t *testing.T) {
	now := time.Now()
	table := newTable(10)
	of := func(before, expires time.Duration) []Entry {
		return []Entry{{Kind: Subject, Issuer: "i", Value: "ada", Before: now.Add(before), Expires: now.Add(expires)}}
	}
	table.add(of(0, time.Minute), now)
	table.add(of(-time.Hour, time.Hour), now)
	q := &Query{Issuer: "i", Subject: "ada", IssuedAt: now.Add(-time.Second)}
	if !table.revoked(q, func() time.Time { return now.Add(30 * time.Minute) }) {
		t.Error("an earlier time replaced a later one")
	}
}

// TestCostIsFlat: the number of revocations does not change how many records are read for a token, and no look-up allocates.
func TestCostIsFlat(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	q := Query{Issuer: "i", TokenID: "x", Session: "s", Subject: "alice", KeyID: "k"}
	for _, n := range []int{1, 100_000} {
		table := newTable(DefaultMaxEntries)
		table.add(tokens(0, n, now.Add(time.Hour)), now)
		look := lookup{table: table, issuer: q.Issuer, hash: maphash.String(table.seeds[0], q.Issuer), now: clock}
		if look.revoked(&q) || look.reads != 4 {
			t.Errorf("%d revocations: %d records read; want 4", n, look.reads)
		}
		if !table.revoked(&Query{Issuer: "i", TokenID: "0"}, clock) {
			t.Errorf("%d revocations: the first is not found", n)
		}
		if allocs := testing.AllocsPerRun(100, func() { table.revoked(&q, clock) }); allocs != 0 {
			t.Errorf("%d revocations: %v allocations", n, allocs)
		}
	}
}
