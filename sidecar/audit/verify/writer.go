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
	// show that its hash was another one.
	size   uint64
	last   record.Hash
	lastID uuid.UUID
	tree   hashchain.Tree
	// recent are the hashes of the latest records, to recognise copies.
	recent []record.Hash
	// signed is the size of the last checkpoint that agrees, and claimed the largest size that a checkpoint states.
	signed, claimed uint64
	// incomplete says that the root of the tree is not known, because records are missing or wrong.
	incomplete bool
	// pending are checkpoints beyond the records that were read.
	pending []hashchain.Checkpoint
}

const (
	// maxRecent bounds how far apart two copies of a record may be, in records.
	maxRecent = 1024
	// maxPending bounds the checkpoints of a writer that come before their records.
	maxPending = 64
)

// hold makes r, whose hash is h, the last record.
func (w *writer) hold(r *record.Record, h record.Hash) {
	if w.size > 0 && !w.incomplete {
		w.tree.Add(w.last)
	}
	w.size, w.last, w.lastID = r.Seq, h, r.ID
	if len(w.recent) == 2*maxRecent {
		w.recent = append(w.recent[:0], w.recent[maxRecent:]...)
	}
	w.recent = append(w.recent, h)
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
	if w.size > 0 {
		t.Add(w.last)
	}
	return t.Root()
}
