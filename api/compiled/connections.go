package compiled

import "time"

// DefaultIdleTimeout applies to a document without connections. The operator has the same default.
const DefaultIdleTimeout = Duration(2 * time.Minute)

// Connections bounds the connections of clients. 0 leaves a limit to the sidecar, which derives it from its memory.
type Connections struct {
	Max           int      `json:"max,omitempty"`
	MaxPerAddress int      `json:"maxPerAddress,omitempty"`
	IdleTimeout   Duration `json:"idleTimeout"`
}
