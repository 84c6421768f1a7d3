package hashchain

import (
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/posterndev/postern/sidecar/audit/record"
)

// Tree is the Merkle tree of RFC 6962 (§2.1) over the records of one writer. It keeps only the roots of its complete subtrees, at most 64
// hashes, so it can hash any number of records.
type Tree struct {
	size uint64
	// roots are those of the complete subtrees, the largest first. There is one for each bit of size.
	roots []record.Hash
}

// Size returns the number of records.
func (t *Tree) Size() uint64 { return t.size }

// Clone returns a copy that can be changed.
func (t *Tree) Clone() *Tree { return &Tree{size: t.size, roots: slices.Clone(t.roots)} }

// Add appends the record with the hash.
func (t *Tree) Add(h record.Hash) {
	for s := t.size; s&1 == 1; s >>= 1 {
		last := len(t.roots) - 1
		h = record.Hash(tlog.NodeHash(tlog.Hash(t.roots[last]), tlog.Hash(h)))
		t.roots = t.roots[:last]
	}
	t.roots = append(t.roots, h)
	t.size++
}

// Root returns the root of the tree. That of an empty tree is the hash of nothing.
func (t *Tree) Root() record.Hash {
	if len(t.roots) == 0 {
		return emptyRoot
	}
	h := t.roots[len(t.roots)-1]
	for i := len(t.roots) - 2; i >= 0; i-- {
		h = record.Hash(tlog.NodeHash(tlog.Hash(t.roots[i]), tlog.Hash(h)))
	}
	return h
}

// emptyRoot is SHA-256 of nothing (RFC 6962 §2.1).
var emptyRoot = record.Hash{
	0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
	0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
}
