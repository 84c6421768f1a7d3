// Package hashchain makes the audit trail tamper-evident. Each record has its number and the hash of the record before, so that a record
// that is changed, removed or moved breaks the chain; and a Merkle tree over the records of a writer is signed from time to time, so that
// nobody without the key can write another chain.
//
// The hash of a record is that of a leaf of RFC 6962 (§2.1). A checkpoint is a signed note with the size and the root of the tree, in the
// form of C2SP tlog-checkpoint, so that tools and witnesses of transparency logs can verify and cosign it.
package hashchain

import (
	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/posterndev/postern/sidecar/audit/record"
)

// HashOf returns the hash of a record's JSON.
func HashOf(encoded []byte) record.Hash { return record.Hash(tlog.RecordHash(encoded)) }

// Chain is the chain of one writer. It is for one goroutine.
type Chain struct {
	writer uuid.UUID
	tree   Tree
	last   record.Hash
}

// New returns the empty chain of a new writer.
func New(writer uuid.UUID) *Chain { return &Chain{writer: writer} }

// Writer returns the id of the writer.
func (c *Chain) Writer() uuid.UUID { return c.writer }

// Size returns the number of records.
func (c *Chain) Size() uint64 { return c.tree.Size() }

// Append gives r its place in the chain, and returns its JSON and its hash. After an error the chain is unchanged.
func (c *Chain) Append(r *record.Record) (encoded []byte, hash record.Hash, err error) {
	r.Writer, r.Seq, r.Prev = c.writer, c.tree.Size()+1, c.last
	if encoded, err = r.Encode(); err != nil {
		return nil, hash, err
	}
	c.last = HashOf(encoded)
	c.tree.Add(c.last)
	return encoded, c.last, nil
}

// Checkpoint returns the present checkpoint of the chain under the name of the policy, without time and retention.
func (c *Chain) Checkpoint(policy string) Checkpoint {
	return Checkpoint{Policy: policy, Writer: c.writer, Size: c.tree.Size(), Root: c.tree.Root(), Last: c.last}
}
