//go:build race

package differential

// step is that of the cases that run: under the race detector each costs ten times as much.
const step = 4
