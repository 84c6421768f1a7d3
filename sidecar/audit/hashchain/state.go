package hashchain

import (
	"errors"
	"math/bits"

	"github.com/posterndev/postern/sidecar/audit/record"
)

// State returns the state of the tree: the hashes of its complete subtrees, one after the other. With the size it is all that is needed to
// continue the tree.
func (t *Tree) State() []byte {
	b := make([]byte, 0, len(t.roots)*len(record.Hash{}))
	for _, h := range t.roots {
		b = append(b, h[:]...)
	}
	return b
}

// Resume returns the tree with the state.
func Resume(size uint64, state []byte) (*Tree, error) {
	const length = len(record.Hash{})
	if len(state) != bits.OnesCount64(size)*length {
		return nil, errors.New("resuming a Merkle tree: the state does not belong to a tree of that size")
	}
	t := &Tree{size: size}
	for ; len(state) > 0; state = state[length:] {
		t.roots = append(t.roots, record.Hash(state[:length]))
	}
	return t, nil
}
