//go:build race

package differential

// raced says that the race detector is on. The comparison takes minutes then, and what depends on the time differs more often.
const raced = true
