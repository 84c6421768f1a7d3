//go:build !race

package differential

// step is that of the cases that run.
const step = 1
