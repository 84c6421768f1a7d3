package attack

// What one of each costs at most, in bytes of resident memory: the figures of docs/security.md. The budgets of sidecar/server follow from
// them, with a margin.
const (
	costConnection = 32 << 10
	costRequest    = 208 << 10
	costEncoder    = 1 << 20  // in addition to its request
	costSocket     = 64 << 10 // with its connection
)
