package retention

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is a Pruner for records whose hashes are the leaves of a Merkle tree as in RFC 6962. The nodes of its cuts are the hashes of
// the largest complete subtrees, from the left: one for each bit of the size, each of 32 bytes. It keeps records that do not follow
// each other. After a cut that was forced and has no nodes, it checks the records after it, and gives no nodes either.
type Tree struct{}

// ErrBroken reports records that do not follow each other: one is missing, or was changed.
var ErrBroken = errors.New("the records do not follow each other; verify the trail before they are dropped")

// Prune implements Pruner.
func (Tree) Prune(previous Cut, rows iter.Seq2[Row, error]) (Cut, error) {
	nodes, err := parseNodes(previous)
	if err != nil {
		return Cut{}, err
	}
	forced := previous.Size > 0 && len(previous.Nodes) == 0
	size, last := previous.Size, previous.LastHash
	for row, err := range rows {
		if err != nil {
			return Cut{}, err
		}
		if row.Seq != size+1 || len(row.Hash) != tlog.HashSize || last != nil && !bytes.Equal(row.Prev, last) {
			return Cut{}, fmt.Errorf("record %d after %d: %w", row.Seq, size, ErrBroken)
		}
		if !forced {
			nodes = appendLeaf(nodes, size, tlog.Hash(row.Hash))
		}
		size, last = row.Seq, row.Hash
	}
	next := Cut{Size: size, LastHash: bytes.Clone(last)}
	for _, n := range nodes {
		next.Nodes = append(next.Nodes, n[:]...)
	}
	return next, nil
}

// parseNodes returns the nodes of a cut.
func parseNodes(c Cut) (nodes []tlog.Hash, err error) {
	if c.Size > 0 && len(c.Nodes) == 0 {
		return nil, nil
	}
	if c.Size < 0 || len(c.Nodes) != bits.OnesCount64(uint64(c.Size))*tlog.HashSize {
		return nil, fmt.Errorf("the cut at %d has %d bytes of nodes: %w", c.Size, len(c.Nodes), ErrBroken)
	}
	for i := 0; i < len(c.Nodes); i += tlog.HashSize {
		nodes = append(nodes, tlog.Hash(c.Nodes[i:]))
	}
	return nodes, nil
}

// appendLeaf adds a leaf to a tree of size leaves. Each bit of 1 at the end of the size is a subtree that becomes complete.
func appendLeaf(nodes []tlog.Hash, size int64, leaf tlog.Hash) []tlog.Hash {
	for ; size&1 == 1; size >>= 1 {
		leaf = tlog.NodeHash(nodes[len(nodes)-1], leaf)
		nodes = nodes[:len(nodes)-1]
	}
	return append(nodes, leaf)
}
