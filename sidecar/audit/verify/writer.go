package verify

import (
	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	"github.com/posterndev/postern/sidecar/audit/record"
)

// writer is what is known about the records of one writer.
type writer struct {
	id uuid.UUID
	// size is the number of the last record, last its hash, and lastID its id. The tree has the records before it: the next record can
	// show that its hash was another one. After a cut, when whole is true, it has the last one too.
	size   uint64
	last   record.Hash
	lastID uuid.UUID
	tree   *hashchain.Tree
	whole  bool
	// first is the number of records before the first one of a partial trail.
	first uint64
	// cut is the number of records that were removed by retention, and due the number of those whose retention has passed by a signed
	// checkpoint.
	cut, due uint64
	// recent are the hashes of the latest records, to recognise copies.
	recent []record.Hash
	// signed is the size of the last checkpoint that agrees, and claimed the largest size that a checkpoint states.
	signed, claimed uint64
	// incomplete says that the root of the tree is not known, because records are missing, and diverged that the records are not those
	// of a signed checkpoint.
	incomplete, diverged bool
	// used is when the writer was last used, as the number of records that had been read.
	used uint64
	// pending are checkpoints beyond the records that were read.
	pending []hashchain.Checkpoint
}

const (
	// maxRecent bounds how far apart two copies of a record may be, in records.
	maxRecent = 512
	// maxHashes bounds the hashes of all writers for that, in a trail of many writers.
	maxHashes = 1 << 19
	// maxPending bounds the checkpoints of a writer that come before their records.
	maxPending = 64
)

// hold makes r, whose hash is h, the last record.
func (w *writer) hold(r *record.Record, h record.Hash) {
	if w.size > 0 && !w.incomplete && !w.whole {
		w.tree.Add(w.last)
	}
	w.size, w.last, w.lastID, w.whole = r.Seq, h, r.ID, false
}

// resume continues after a cut. tree is nil if it is not known.
func (w *writer) resume(c hashchain.Cut, tree *hashchain.Tree) {
	w.size, w.last, w.lastID, w.recent, w.whole, w.incomplete = c.Size, c.Last, uuid.Nil, nil, true, tree == nil
	if tree != nil {
		w.tree = tree
	}
	w.cut = c.Size
}

// had reports whether the record with the number has the hash. It is false for records that are too far back.
func (w *writer) had(seq uint64, h record.Hash) bool {
	back := w.size - seq
	return back < uint64(len(w.recent)) && w.recent[uint64(len(w.recent))-1-back] == h
}

// skip continues before r, after missing records.
func (w *writer) skip(r *record.Record) {
	w.size, w.last, w.lastID, w.recent, w.incomplete = r.Seq-1, r.Prev, uuid.Nil, nil, true
}

// root returns the root of all records.
func (w *writer) root() record.Hash {
	t := w.tree.Clone()
	if w.size > 0 && !w.whole {
		t.Add(w.last)
	}
	return t.Root()
}

// remember keeps the hash of the last record of w, to recognise a copy. If there are too many, the writers that were not read for the
// longest time lose theirs: copies follow soon.
func (v *Verifier) remember(w *writer, h record.Hash) {
	w.used = v.summary.Records
	if len(w.recent) == 2*maxRecent {
		w.recent = append(w.recent[:0], w.recent[maxRecent:]...)
		v.hashes -= maxRecent
	}
	w.recent = append(w.recent, h)
	if v.hashes++; v.hashes <= maxHashes {
		return
	}
	for _, other := range v.writers {
		if v.summary.Records-other.used > maxHashes/4 {
			v.forget(other, 0)
		}
	}
	if v.hashes > maxHashes/2 {
		for _, other := range v.writers {
			v.forget(other, len(other.recent)/2)
		}
	}
}

// forget keeps only the latest hashes of w, up to n.
func (v *Verifier) forget(w *writer, n int) {
	v.hashes -= len(w.recent) - n
	w.recent = append([]record.Hash(nil), w.recent[len(w.recent)-n:]...) // not slices.Clone, which keeps the array for an empty slice
}
