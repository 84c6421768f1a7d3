// Package verify checks an audit trail: that no record was changed, removed, added or moved since its writer signed it.
//
// It reads the records of each writer in order, once, and keeps one small state for each writer, so that it can check any number of
// records. Records may be read from a table or from lines of JSON; records of several writers may be mixed.
package verify

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
)

// Kind is what a finding is about.
type Kind string

// The kinds of findings.
const (
	// Changed: the content of a record is not what its writer wrote. Malformed: it is not a record at all.
	Changed   Kind = "changed"
	Malformed Kind = "malformed"
	// Missing: records are missing between two others. Truncated: records are missing at the end, which a checkpoint still covers.
	Missing   Kind = "missing"
	Truncated Kind = "truncated"
	// Reordered: a record comes after one with a higher number, and is not a repetition of it.
	Reordered Kind = "reordered"
	// Unsigned: a checkpoint has no valid signature. Forged: the records do not have the root that a signed checkpoint states, so
	// one of them since the checkpoint before was changed together with the chain.
	Unsigned Kind = "unsigned"
	Forged   Kind = "forged"
	// Removed: the first records of a writer were removed as if by retention, but a signed checkpoint says that it has not passed.
	Removed Kind = "removed"
)

// Finding is one fault of a trail.
type Finding struct {
	Kind   Kind      `json:"kind"`
	Writer uuid.UUID `json:"writer"`
	// First and Last are the numbers of the records that it concerns. They are equal if it is one.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// ID is the id of the record, if it is one and is known.
	ID uuid.UUID `json:"id,omitzero"`
	// Detail says what was found.
	Detail string `json:"detail"`
}

// String returns the finding in one line.
func (f Finding) String() string {
	where := fmt.Sprintf("record %d", f.First)
	if f.First != f.Last {
		where = fmt.Sprintf("records %d to %d", f.First, f.Last)
	}
	if f.ID != uuid.Nil {
		where += fmt.Sprintf(" (id %s)", f.ID)
	}
	return fmt.Sprintf("%s: %s of writer %s: %s", f.Kind, where, f.Writer, f.Detail)
}

// Config configures a Verifier.
type Config struct {
	// Keys verify checkpoints. Without keys no signature is checked, and a checkpoint only counts as a statement.
	Keys note.Verifiers
	// OnFinding is called for each finding, in the order in which they are found.
	OnFinding func(Finding)
	// Partial says that the trail begins in the middle, as a log that was rotated does. Then records before the first one of a writer
	// are not missing, and checkpoints are compared with the last record that they cover.
	Partial bool
	// Now decides whether a retention has passed. It is time.Now if it is zero.
	Now time.Time
}

// Verifier checks one trail. It is for one goroutine.
type Verifier struct {
	cfg     Config
	writers map[uuid.UUID]*writer
	summary Summary
	// hashes is the number of hashes in writer.recent of all writers.
	hashes int
}

// Summary counts what was read.
type Summary struct {
	Writers     uint64 `json:"writers"`
	Records     uint64 `json:"records"`
	Checkpoints uint64 `json:"checkpoints"`
	Repeated    uint64 `json:"repeated"`
	Findings    uint64 `json:"findings"`
	// Unsigned is the number of records that no signed checkpoint covers: nobody could tell if they were missing.
	Unsigned uint64 `json:"unsigned"`
	// Removed is the number of records that were removed because their retention has passed. Before is the number of those before the
	// first ones of a partial trail.
	Removed uint64 `json:"removed"`
	Before  uint64 `json:"before"`
	// From and To are the times of the first and the last record.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// New returns a Verifier.
func New(c Config) *Verifier {
	if c.Now.IsZero() {
		c.Now = time.Now()
	}
	return &Verifier{cfg: c, writers: map[uuid.UUID]*writer{}}
}

// Record checks the next record. Hash is what was stored beside it; zero if nothing was.
func (v *Verifier) Record(encoded []byte, hash record.Hash) {
	v.summary.Records++
	r, err := record.Decode(encoded)
	if err != nil {
		v.found(Finding{Kind: Malformed, Detail: err.Error()})
		return
	}
	v.seen(r.Time.Time)
	w, own := v.writer(r.Writer), hashchain.HashOf(encoded)
	if r.Seq <= w.size {
		v.again(w, r, own)
		return
	}
	v.follow(w, r)
	if !hash.IsZero() && hash != own {
		v.found(Finding{Kind: Changed, Writer: w.id, First: r.Seq, Last: r.Seq, ID: r.ID, Detail: "its content does not have the hash that is stored with it"})
		own = hash // if the hash is the original one, the next record has it too
	}
	w.hold(r, own)
	v.remember(w, own)
	v.settle(w)
}

// Altered reports a column beside a record that does not have the value of the record.
func (v *Verifier) Altered(writer uuid.UUID, seq uint64, column string) {
	v.found(Finding{Kind: Changed, Writer: writer, First: seq, Last: seq, Detail: "the column " + column + " does not have the value of the record"})
}

// again judges a record whose number was read before.
func (v *Verifier) again(w *writer, r *record.Record, own record.Hash) {
	if w.had(r.Seq, own) {
		v.summary.Repeated++
		return
	}
	v.found(Finding{Kind: Reordered, Writer: w.id, First: r.Seq, Last: r.Seq, ID: r.ID, Detail: fmt.Sprintf("it comes after record %d, and is not a copy of the one that was read before with its number", w.size)})
}

// follow checks that r follows the record before it.
func (v *Verifier) follow(w *writer, r *record.Record) {
	if first := w.size + 1; r.Seq > first && first == 1 && v.cfg.Partial {
		v.summary.Before += r.Seq - 1
		v.forget(w, 0)
		w.skip(r)
		w.first = r.Seq - 1
		return
	} else if r.Seq > first {
		v.found(Finding{Kind: Missing, Writer: w.id, First: first, Last: r.Seq - 1, Detail: "the trail does not have them"})
		v.forget(w, 0)
		w.skip(r)
		return
	}
	if r.Prev == w.last {
		return
	}
	if r.Seq == 1 {
		v.found(Finding{Kind: Changed, Writer: w.id, First: 1, Last: 1, ID: r.ID, Detail: "it is the first, and names one before it"})
		return
	}
	if w.cut == w.size {
		v.found(Finding{Kind: Forged, Writer: w.id, First: w.size, Last: w.size, Detail: "it was removed, and the record after it was written after another one than audit_pruned has"})
		w.last = r.Prev
		return
	}
	v.found(Finding{Kind: Changed, Writer: w.id, First: w.size, Last: w.size, ID: w.lastID, Detail: "the record after it was written after another one"})
	w.last = r.Prev // if this is the original hash, the next checkpoint agrees
}

// Checkpoint checks a checkpoint. It may come before or after the records that it covers; of those before, only the latest few.
func (v *Verifier) Checkpoint(signed []byte) {
	v.summary.Checkpoints++
	c, ok := v.open(signed)
	if !ok {
		return
	}
	w := v.writer(c.Writer)
	if len(w.pending) == maxPending {
		w.pending = slices.Delete(w.pending, 0, 1)
	}
	v.expect(w, c)
}

// Witness takes a checkpoint that was kept elsewhere, before all records. Of those of a writer, the largest is compared.
func (v *Verifier) Witness(signed []byte) {
	c, ok := v.open(signed)
	if !ok {
		return
	}
	if w := v.writer(c.Writer); c.Size > w.claimed {
		w.pending = nil
		v.expect(w, c)
	}
}

// open verifies the signature of a checkpoint.
func (v *Verifier) open(signed []byte) (c hashchain.Checkpoint, ok bool) {
	c, err := hashchain.Peek(signed)
	if err != nil {
		v.found(Finding{Kind: Malformed, Detail: err.Error()})
		return c, false
	}
	if v.cfg.Keys == nil {
		return c, true
	}
	if _, err := hashchain.Open(signed, v.cfg.Keys); err != nil {
		w := v.writer(c.Writer)
		v.found(Finding{Kind: Unsigned, Writer: w.id, First: w.signed + 1, Last: max(c.Size, w.signed+1), Detail: err.Error()})
		return c, false
	}
	return c, true
}

// expect compares c when its records have been read.
func (v *Verifier) expect(w *writer, c hashchain.Checkpoint) {
	w.claimed = max(w.claimed, c.Size)
	if c.Due(v.cfg.Now) {
		w.due = max(w.due, c.Size)
	}
	w.pending = append(w.pending, c)
	slices.SortStableFunc(w.pending, func(a, b hashchain.Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	v.settle(w)
}

// settle compares the checkpoints of the present size.
func (v *Verifier) settle(w *writer) {
	for len(w.pending) > 0 && w.pending[0].Size <= w.size {
		c := w.pending[0]
		w.pending = w.pending[1:]
		switch {
		case c.Size < w.size || w.diverged || w.incomplete && c.Last.IsZero():
			// It came too late to be compared, or records are missing or wrong, which was reported.
		case w.incomplete && c.Last != w.last:
			v.forged(w, c, "the last of them is not the one that the signed checkpoint states")
		case !w.incomplete && c.Root != w.root():
			v.forged(w, c, "they do not have the root of the signed checkpoint")
		default:
			w.signed = c.Size
		}
	}
}

func (v *Verifier) forged(w *writer, c hashchain.Checkpoint, detail string) {
	v.found(Finding{Kind: Forged, Writer: w.id, First: max(w.signed, w.first) + 1, Last: c.Size, Detail: detail})
	w.diverged = true
}

// Done says that nothing more comes of a writer: it reports what is missing at its end, and frees the memory of it.
func (v *Verifier) Done(id uuid.UUID) {
	w := v.writers[id]
	if w == nil {
		return
	}
	if w.claimed > w.size && (w.size > 0 || !v.cfg.Partial) {
		v.found(Finding{Kind: Truncated, Writer: id, First: w.size + 1, Last: w.claimed, Detail: "a checkpoint covers them, and they are not in the trail"})
	}
	if covered := min(w.cut, w.claimed); covered > w.due {
		v.found(Finding{Kind: Removed, Writer: id, First: w.due + 1, Last: covered, Detail: "audit_pruned has them as removed, and by the signed checkpoints their retention has not passed"})
	}
	v.summary.Unsigned += w.size - min(max(w.signed, w.first, min(w.cut, w.due)), w.size)
	v.summary.Writers++
	v.hashes -= len(w.recent)
	delete(v.writers, id)
}

// Finish reports what is missing at the end of all writers, and returns the summary.
func (v *Verifier) Finish() Summary {
	for _, id := range slices.SortedFunc(maps.Keys(v.writers), func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }) {
		v.Done(id)
	}
	return v.summary
}

func (v *Verifier) writer(id uuid.UUID) *writer {
	w := v.writers[id]
	if w == nil {
		w = &writer{id: id, tree: &hashchain.Tree{}}
		v.writers[id] = w
	}
	return w
}

func (v *Verifier) seen(t time.Time) {
	if v.summary.From.IsZero() || t.Before(v.summary.From) {
		v.summary.From = t
	}
	if t.After(v.summary.To) {
		v.summary.To = t
	}
}

func (v *Verifier) found(f Finding) {
	v.summary.Findings++
	if v.cfg.OnFinding != nil {
		v.cfg.OnFinding(f)
	}
}
