package hashchain

import (
	"time"

	"github.com/google/uuid"

	"github.com/posterndev/postern/sidecar/audit/record"
)

// Cut is what is kept of the first records of a writer when they are removed because their retention has passed.
//
// Nothing in it is signed but the checkpoint. The state and the hash are verified by the checkpoints of the records that follow, and a
// checkpoint that covers the removed records says, with its time and retention, whether they could be removed.
type Cut struct {
	Writer uuid.UUID `json:"writer"`
	// Size is the number of the last record that was removed, and Last its hash.
	Size uint64      `json:"size"`
	Last record.Hash `json:"last"`
	// State is the state of the tree (Tree.State); empty if it is not known, because the records did not follow each other.
	State []byte `json:"state,omitempty"`
	// Checkpoint is a signed note with a checkpoint of the writer, of at least Size records if there is one; empty for none.
	Checkpoint string `json:"checkpoint,omitempty"`
	// Time is when the records were removed.
	Time time.Time `json:"time"`
}
