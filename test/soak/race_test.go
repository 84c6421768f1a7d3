//go:build race

package soak

// raced says that the race detector is on. The sidecar then has it, too.
const raced = true
