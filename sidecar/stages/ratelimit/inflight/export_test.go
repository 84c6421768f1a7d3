package inflight

const MaxLeftovers = maxLeftovers

// Leftovers returns the number of places that are still to be released.
func (k *Keeper) Leftovers() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.left)
}
