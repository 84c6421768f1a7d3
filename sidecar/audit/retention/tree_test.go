package retention

import (
	"crypto/sha256"
	"errors"
	"iter"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

func rowsOf(rows []Row) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// chain returns n records.
func chain(n int) (rows []Row) {
	var last []byte
	for i := range n {
		hash := tlog.RecordHash([]byte{byte(i), byte(i >> 8)})
		rows = append(rows, Row{Seq: int64(i + 1), Prev: last, Hash: hash[:]})
		last = hash[:]
	}
	return rows
}

// root returns the root of a tree from the nodes of a cut.
func root(nodes []byte) (h tlog.Hash) {
	for i := len(nodes) - tlog.HashSize; i >= 0; i -= tlog.HashSize {
		if n := tlog.Hash(nodes[i:]); i == len(nodes)-tlog.HashSize {
			h = n
		} else {
			h = tlog.NodeHash(n, h)
		}
	}
	return h
}

// TestTree compares with the tree of tlog, at every size, in one step and in two.
func TestTree(t *testing.T) {
	const size = 70
	rows := chain(size)
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (found []tlog.Hash, err error) {
		for _, i := range indexes {
			found = append(found, stored[i])
		}
		return found, nil
	})
	for n := 1; n <= size; n++ {
		added, err := tlog.StoredHashesForRecordHash(int64(n-1), tlog.Hash(rows[n-1].Hash), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, added...)
		want, err := tlog.TreeHash(int64(n), reader)
		if err != nil {
			t.Fatal(err)
		}
		half, err := Tree{}.Prune(Cut{}, rowsOf(rows[:n/2]))
		if err != nil {
			t.Fatal(err)
		}
		cut, err := Tree{}.Prune(half, rowsOf(rows[n/2:n]))
		if err != nil || root(cut.Nodes) != want || cut.Size != int64(n) || string(cut.LastHash) != string(rows[n-1].Hash) {
			t.Errorf("size %d: %+v, %v", n, cut, err)
		}
	}
}

func TestTreeRefuses(t *testing.T) {
	good, other := chain(5), sha256.Sum256(nil)
	with := func(i int, change func(*Row)) []Row {
		rows := chain(5)
		change(&rows[i])
		return rows
	}
	failing := func(yield func(Row, error) bool) { yield(Row{}, errors.New("lost connection")) }
	tests := map[string]struct {
		previous Cut
		rows     iter.Seq2[Row, error]
	}{
		"a missing record":      {rows: rowsOf(append(chain(2), good[3:]...))},
		"a missing first":       {rows: rowsOf(good[1:])},
		"a record twice":        {rows: rowsOf(append(chain(2), good[1:]...))},
		"another predecessor":   {rows: rowsOf(with(2, func(r *Row) { r.Prev = other[:] }))},
		"a changed hash":        {rows: rowsOf(with(2, func(r *Row) { r.Hash = other[:] }))},
		"a short hash":          {rows: rowsOf(with(4, func(r *Row) { r.Hash = r.Hash[:31] }))},
		"nodes of another size": {previous: Cut{Size: 3, Nodes: other[:], LastHash: good[2].Hash}, rows: rowsOf(good[3:])},
		"a negative size":       {previous: Cut{Size: -1}, rows: rowsOf(good)},
		"an error":              {rows: failing},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if cut, err := (Tree{}).Prune(tt.previous, tt.rows); err == nil {
				t.Errorf("the cut is %+v", cut)
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	month := func(bound string) bool { _, ok := parseMonth("x", bound); return ok }
	days := func(bound string) bool { _, ok := parseDays(bound); return ok }
	tests := map[string]struct {
		parse func(string) bool
		bound string
		want  bool
	}{
		"a month":             {month, "FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')", true},
		"the default":         {month, "DEFAULT", false},
		"no beginning":        {month, "FOR VALUES FROM (MINVALUE) TO ('2026-02-01 00:00:00+00')", false},
		"no end":              {month, "FOR VALUES FROM ('2026-01-01 00:00:00+00') TO (MAXVALUE)", false},
		"before our era":      {month, "FOR VALUES FROM ('0044-01-01 00:00:00+00 BC') TO ('0044-02-01 00:00:00+00 BC')", false},
		"the wrong way round": {month, "FOR VALUES FROM ('2026-02-01 00:00:00+00') TO ('2026-01-01 00:00:00+00')", false},
		"a retention":         {days, "FOR VALUES IN (400)", true},
		"the default list":    {days, "DEFAULT", false},
		"two retentions":      {days, "FOR VALUES IN (30, 400)", false},
		"NULL":                {days, "FOR VALUES IN (NULL)", false},
		"negative":            {days, "FOR VALUES IN ('-1')", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.parse(tt.bound); got != tt.want {
				t.Errorf("%s: %v", tt.bound, got)
			}
		})
	}
}

func TestEnded(t *testing.T) {
	january := month{start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), end: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
	last := january.end.AddDate(0, 0, 30)
	for now, want := range map[time.Time]bool{last: false, last.Add(1): true, last.Add(-1): false} {
		if got := ended(retention{days: 30}, january, now); got != want {
			t.Errorf("at %s: %v", now, got)
		}
	}
}

func FuzzParseMonth(f *testing.F) {
	f.Add("FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00')")
	f.Fuzz(func(t *testing.T, bound string) {
		if m, ok := parseMonth("x", bound); ok && !m.start.Before(m.end) {
			t.Errorf("%q is %s to %s", bound, m.start, m.end)
		}
		if days, ok := parseDays(bound); ok && days < 0 {
			t.Errorf("%q is %d days", bound, days)
		}
	})
}
