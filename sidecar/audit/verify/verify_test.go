package verify

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
)

// line is a row of a trail, or a checkpoint.
type line struct {
	encoded    []byte
	hash       record.Hash
	checkpoint []byte
}

var private = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func keys(t *testing.T) note.Verifiers {
	t.Helper()
	v, err := note.NewVerifier(hashchain.VerifierKey(private.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	return note.VerifierList(v)
}

func writerID(n byte) uuid.UUID { return uuid.UUID{0: n} }

// trail returns n records of a writer with a checkpoint after every fifth.
func trail(t *testing.T, id byte, n int) (lines []line) {
	t.Helper()
	signer, err := hashchain.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	chain := hashchain.New(writerID(id))
	for i := range n {
		encoded, hash, err := chain.Append(&record.Record{
			Version: 1, ID: uuid.UUID{0: id, 15: byte(i + 1)}, Time: record.At(time.Unix(int64(i), 0)), Category: record.Authentication, Action: "login",
			Subject: fmt.Sprint("user", i+1), Policy: "shop/orders",
		})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line{encoded: encoded, hash: hash})
		if i%5 == 4 {
			signed, err := chain.Checkpoint("shop/orders").Sign(signer)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, line{checkpoint: signed})
		}
	}
	return lines
}

// at is the index of record n in a trail: a checkpoint follows each fifth.
func at(n int) int { return n - 1 + (n-1)/5 }

func edit(l line, rehash bool) line {
	l.encoded = bytes.Replace(l.encoded, []byte(`"user`), []byte(`"eve`), 1)
	if rehash {
		l.hash = hashchain.HashOf(l.encoded)
	}
	return l
}

func check(t *testing.T, lines []line) (found []string, s Summary) {
	t.Helper()
	v := New(Config{Keys: keys(t), OnFinding: func(f Finding) { found = append(found, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last)) }})
	for _, l := range lines {
		if l.checkpoint != nil {
			v.Checkpoint(l.checkpoint)
		} else {
			v.Record(l.encoded, l.hash)
		}
	}
	return found, v.Finish()
}

func TestWhatIsFound(t *testing.T) {
	unsigned := func(lines []line) []line {
		return slices.DeleteFunc(lines, func(l line) bool { return l.checkpoint != nil })
	}
	tests := map[string]struct {
		change func([]line) []line
		want   []string
	}{
		"nothing":                         {func(l []line) []line { return l }, nil},
		"an edited record":                {func(l []line) []line { l[at(7)] = edit(l[at(7)], false); return l }, []string{"changed 7-7"}},
		"an edited record with its hash":  {func(l []line) []line { l[at(7)] = edit(l[at(7)], true); return l }, []string{"changed 7-7"}},
		"the first record edited":         {func(l []line) []line { l[0] = edit(l[0], true); return l }, []string{"changed 1-1"}},
		"the last record edited":          {func(l []line) []line { l[at(20)] = edit(l[at(20)], true); return l }, []string{"forged 16-20"}},
		"two edited records":              {func(l []line) []line { l[at(7)], l[at(9)] = edit(l[at(7)], true), edit(l[at(9)], true); return l }, []string{"changed 7-7", "changed 9-9"}},
		"a deleted record":                {func(l []line) []line { return slices.Delete(l, at(7), at(8)) }, []string{"missing 7-7"}},
		"three deleted records":           {func(l []line) []line { return slices.Delete(l, at(7), at(10)) }, []string{"missing 7-9"}},
		"two swapped records":             {func(l []line) []line { l[at(7)], l[at(8)] = l[at(8)], l[at(7)]; return l }, []string{"missing 7-7", "reordered 7-7"}},
		"a cut tail":                      {func(l []line) []line { return append(l[:at(18)], l[len(l)-1]) }, []string{"truncated 18-20"}},
		"a cut tail with the checkpoint":  {func(l []line) []line { return l[:at(18)] }, nil},
		"a record over another":           {func(l []line) []line { l[at(7)] = l[at(9)]; return l }, []string{"missing 7-8", "reordered 8-8"}},
		"a copy of a record":              {func(l []line) []line { return slices.Insert(l, at(9), l[at(7)]) }, nil},
		"a whole batch twice":             {func(l []line) []line { return slices.Insert(l, at(11), l[at(1):at(11)]...) }, nil},
		"a line that is not a record":     {func(l []line) []line { l[at(7)].encoded = []byte("{}"); return l }, []string{"malformed 0-0", "missing 7-7"}},
		"a rewritten trail, old notes":    {rewritten(t, true), []string{"forged 1-5"}},
		"a rewritten trail, no notes":     {func(l []line) []line { return unsigned(rewritten(t, true)(l)) }, nil},
		"a rewritten trail, own notes":    {rewritten(t, false), []string{"unsigned 1-5", "unsigned 1-10", "unsigned 1-15", "unsigned 1-20"}},
		"checkpoints before their record": {func(l []line) []line { return slices.Concat(l[at(5)+1:at(5)+2], l[:at(5)+1], l[at(6):]) }, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			found, s := check(t, tt.change(trail(t, 1, 20)))
			if !slices.Equal(found, tt.want) {
				t.Errorf("found %q; want %q", found, tt.want)
			}
			if s.Findings != uint64(len(tt.want)) {
				t.Errorf("summary %+v", s)
			}
		})
	}
}

// rewritten returns a trail whose chain is intact, but which another writer wrote, with the notes of the first or its own.
func rewritten(t *testing.T, notes bool) func([]line) []line {
	return func(l []line) []line {
		stranger := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
		signer, err := hashchain.NewSigner(stranger)
		if err != nil {
			t.Fatal(err)
		}
		chain := hashchain.New(writerID(1))
		for i := range l {
			if l[i].checkpoint != nil {
				if !notes {
					l[i].checkpoint, err = chain.Checkpoint("shop/orders").Sign(signer)
				}
			} else {
				var r *record.Record
				if r, err = record.Decode(l[i].encoded); err == nil {
					r.Subject = strings.Replace(r.Subject, "user", "eve", 1)
					l[i].encoded, l[i].hash, err = chain.Append(r)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
}

// TestMixedWriters: the records of several writers may be mixed, and a fault of one is not one of another.
func TestMixedWriters(t *testing.T) {
	a, b := trail(t, 1, 20), trail(t, 2, 20)
	var mixed []line
	for i := range a {
		mixed = append(mixed, a[i], b[i])
	}
	if found, s := check(t, mixed); len(found) > 0 || s.Writers != 2 || s.Records != 40 || s.Checkpoints != 8 || s.Unsigned != 0 {
		t.Errorf("%q, %+v", found, s)
	}
	mixed[2*at(7)+1] = edit(mixed[2*at(7)+1], true)
	var ids []string
	v := New(Config{OnFinding: func(f Finding) { ids = append(ids, f.Writer.String()+" "+f.ID.String()) }})
	for _, l := range mixed {
		if l.checkpoint == nil {
			v.Record(l.encoded, l.hash)
		}
	}
	if want := writerID(2).String() + " " + (uuid.UUID{0: 2, 15: 7}).String(); !slices.Equal(ids, []string{want}) {
		t.Errorf("found %q; want %s", ids, want)
	}
}

// TestWhatNobodySigned counts the records after the last checkpoint.
func TestWhatNobodySigned(t *testing.T) {
	if _, s := check(t, trail(t, 1, 18)); s.Unsigned != 3 {
		t.Errorf("%+v", s)
	}
}

// TestCuts: a trail goes on after a cut, and what is proved about the records before it is only what a checkpoint states.
func TestCuts(t *testing.T) {
	all := trail(t, 1, 20)
	tree := &hashchain.Tree{}
	for _, l := range all[:at(12)+1] {
		if l.checkpoint == nil {
			tree.Add(l.hash)
		}
	}
	signer, err := hashchain.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
	signed := func(size uint64, root, last record.Hash, age int) string {
		c := hashchain.Checkpoint{Policy: "shop/orders", Writer: writerID(1), Size: size, Root: root, Last: last, Time: now.AddDate(0, 0, -age), RetainDays: 35}
		note, err := c.Sign(signer)
		if err != nil {
			t.Fatal(err)
		}
		return string(note)
	}
	last := all[at(12)].hash
	cut := hashchain.Cut{Writer: writerID(1), Size: 12, Last: last, State: tree.State(), Checkpoint: signed(12, tree.Root(), last, 40)}
	tests := map[string]struct {
		change func(*hashchain.Cut)
		rest   []line
		want   []string
	}{
		"due":                   {func(*hashchain.Cut) {}, all[at(13):], nil},
		"all of it":             {func(*hashchain.Cut) {}, nil, nil},
		"not due":               {func(c *hashchain.Cut) { c.Checkpoint = signed(12, tree.Root(), last, 30) }, all[at(13):], []string{"removed 1-12"}},
		"a part is due":         {func(c *hashchain.Cut) { c.Checkpoint = signed(7, last, last, 40) }, all[at(13):], []string{"removed 8-12"}},
		"the last is missing":   {func(c *hashchain.Cut) { c.Checkpoint = signed(14, last, last, 40) }, nil, []string{"truncated 13-14"}},
		"another root":          {func(c *hashchain.Cut) { c.Checkpoint = signed(12, last, last, 40) }, all[at(13):], []string{"forged 1-12"}},
		"without a state":       {func(c *hashchain.Cut) { c.State = nil }, all[at(13):], nil},
		"nor the last":          {func(c *hashchain.Cut) { c.State, c.Last = nil, record.Hash{1} }, all[at(13):], []string{"forged 1-12", "forged 12-12"}},
		"a state of other size": {func(c *hashchain.Cut) { c.State = c.State[32:] }, all[at(13):], []string{"malformed 12-12"}},
		"a gap after it":        {func(*hashchain.Cut) {}, all[at(14):], []string{"missing 13-13"}},
		"no signature":          {func(c *hashchain.Cut) { c.Checkpoint = "x\n\n" }, all[at(13):], []string{"malformed 0-0", "removed 1-12"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var found []string
			v := New(Config{Keys: keys(t), Now: now, OnFinding: func(f Finding) { found = append(found, fmt.Sprintf("%s %d-%d", f.Kind, f.First, f.Last)) }})
			c := cut
			tt.change(&c)
			v.Cut(c)
			for _, l := range tt.rest {
				if l.checkpoint != nil {
					v.Checkpoint(l.checkpoint)
				} else {
					v.Record(l.encoded, l.hash)
				}
			}
			if s := v.Finish(); !slices.Equal(found, tt.want) || s.Removed != 12 {
				t.Errorf("found %q, %+v; want %q", found, s, tt.want)
			}
		})
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"id":"01934567-89ab-7def-8123-456789abcdef","writer":"01934567-89ab-7def-8123-456789abcdef","seq":1,"category":"x","action":"y"}`), []byte("a\n1\n\n\n"))
	f.Fuzz(func(_ *testing.T, encoded, signed []byte) {
		v := New(Config{})
		v.Record(encoded, record.Hash{})
		v.Checkpoint(signed)
		v.Record(encoded, record.Hash{1})
		v.Cut(hashchain.Cut{Writer: writerID(1), Size: uint64(len(encoded)), State: encoded, Checkpoint: string(signed)})
		v.Witness(signed)
		v.Record(encoded, record.Hash{})
		v.Finish()
	})
}
