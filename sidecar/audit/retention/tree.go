package retention

import (
	"bytes"
	"errors"
	"fmt"
	"iter"

	"github.com/posterndev/postern/sidecar/audit/hashchain"
	auditrecord "github.com/posterndev/postern/sidecar/audit/record"
)

// Tree is a Pruner for the chains of package hashchain: the nodes of its cuts are hashchain.Tree.State. It keeps records that do not follow
// each other, and those whose content was changed. After a cut that was forced and has no nodes, it checks the records after it, and gives no
// nodes either.
type Tree struct{}

// ErrBroken reports records that do not follow each other: one is missing, or was changed.
var ErrBroken = errors.New("the records do not follow each other; verify the trail before they are dropped")

// Prune implements Pruner.
func (Tree) Prune(previous Cut, rows iter.Seq2[Row, error]) (Cut, error) {
	if previous.Size < 0 {
		return Cut{}, fmt.Errorf("the cut at %d: %w", previous.Size, ErrBroken)
	}
	forced := previous.Size > 0 && len(previous.Nodes) == 0
	tree := &hashchain.Tree{}
	if !forced {
		var err error
		if tree, err = hashchain.Resume(uint64(previous.Size), previous.Nodes); err != nil {
			return Cut{}, fmt.Errorf("%w (%w)", ErrBroken, err)
		}
	}
	size, last := previous.Size, previous.LastHash
	for row, err := range rows {
		if err != nil {
			return Cut{}, err
		}
		if row.Seq != size+1 || row.Changed || len(row.Hash) != len(auditrecord.Hash{}) || last != nil && !bytes.Equal(row.Prev, last) {
			return Cut{}, fmt.Errorf("record %d after %d: %w", row.Seq, size, ErrBroken)
		}
		if !forced {
			tree.Add(auditrecord.Hash(row.Hash))
		}
		size, last = row.Seq, row.Hash
	}
	return Cut{Size: size, LastHash: bytes.Clone(last), Nodes: tree.State()}, nil
}
